"""Long lists of parameter names, folded with a shell's braces so that they can be read."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import groupby
from typing import Any, NamedTuple

from tabulate import tabulate

__all__ = ["brace", "common_prefix", "fold_names", "matched_table", "mismatch_table"]

# So many names under one stem are written as a star.
_STAR = 4

Shape = tuple[int, ...]


class _Row(NamedTuple):
    name: str
    """The folded name in the model (or, of what the model lacks, in the file)."""
    others: tuple[str, ...]
    """The further columns."""


def common_prefix(names: Sequence[str]) -> str:
    """Return the longest string that all names begin with."""
    first, last = min(names), max(names)
    length = next((i for i, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), len(first))
    return first[:length]


def brace(names: Iterable[str]) -> str:
    """Write names as one, ``conv1.{bn.*,weight}``; four or more under one stem become a star.

    Args:
        names: names whose parts are set apart by dots or underscores.
    """
    names = sorted(set(names))
    if len(names) == 1:
        return names[0]
    prefix = common_prefix(names)
    stem = prefix[: max(prefix.rfind("."), prefix.rfind("_")) + 1]
    rest = [name[len(stem) :] for name in names]
    by_part = [list(group) for _, group in groupby(rest, key=lambda name: re.split(r"[._]", name)[0])]
    if len(by_part) == 1:
        # One name is the beginning of the others.
        return f"{stem}{{{','.join(rest)}}}"
    return f"{stem}{{{','.join(_folded_part(group) for group in by_part)}}}"


def _folded_part(group: list[str]) -> str:
    if len(group) < _STAR:
        return brace(group)
    return re.split(r"(?<=[._])", group[0])[0] + "*"


def fold_names(names: Iterable[str]) -> list[str]:
    """Fold names of parameters: those of a layer into one, and layers that only a number tells apart.

    Args:
        names: names in the model.
    """
    return [row.name for row in _folded({name: () for name in names}, lambda _: ())]


def matched_table(matches: Mapping[str, str], shapes: Mapping[str, Shape]) -> str:
    """Show which name of a file went where.

    Args:
        matches: the file's name by parameter.
        shapes: the parameters' shapes.
    """

    def columns(layer: Sequence[str]) -> tuple[str, ...]:
        return brace(matches[name] for name in layer), _shapes_of([shapes[name] for name in layer])

    rows = _folded(matches, columns)
    return _table(rows, ("in the model", "in the file", "shapes"))


def mismatch_table(rows: Mapping[str, tuple[Shape | str, Shape | str]]) -> str:
    """Show what a file and a model don't share: what differs in shape, what is missing, what is left over.

    Args:
        rows: by name, the shape in the file and the one in the model, or a word in its stead.
    """
    by_kind: dict[tuple[bool, bool], dict[str, tuple[Shape | str, Shape | str]]] = {}
    for name, (saved, own) in rows.items():
        by_kind.setdefault((isinstance(saved, str), isinstance(own, str)), {})[name] = (saved, own)

    def columns(layer: Sequence[str]) -> tuple[str, ...]:
        return tuple(_shapes_of([rows[name][side] for name in layer]) for side in (0, 1))

    folded = [row for kind in sorted(by_kind) for row in _folded(by_kind[kind], columns)]
    return _table(folded, ("parameter", "in the file", "in the model"))


def _table(rows: Iterable[_Row], headers: Sequence[str]) -> str:
    cells = [(row.name, *row.others) for row in rows]
    return tabulate(cells, headers=headers, tablefmt="github", disable_numparse=True)


def _folded(names: Mapping[str, Any], columns: Callable[[Sequence[str]], tuple[str, ...]]) -> list[_Row]:
    """Make a row for each layer, then one for each set of layers that differ in a number only."""
    ordered = sorted(names, key=lambda name: (_natural(_layer(name)), name))
    rows = []
    # What belongs to no layer stays by itself.
    for _, group in groupby(ordered, key=lambda name: _layer(name) or name):
        layer = list(group)
        rows.append(_Row(brace(layer), columns(layer)))
    most = max((len(_numbers(row.name)) for row in rows), default=0)
    for position in reversed(range(most)):
        rows = _merged(rows, position)
    return rows


def _merged(rows: list[_Row], position: int) -> list[_Row]:
    """Merge rows that only the number at a position of their names tells apart."""
    groups: dict[tuple[str, ...], list[_Row]] = {}
    for row in rows:
        found = _numbers(row.name)
        key: tuple[str, ...] = (row.name,)
        if position < len(found):
            start, end = found[position].span()
            # Shapes must agree; a file's name may differ, in a number of its own.
            key = (row.name[:start], row.name[end:], *row.others[1:])
        groups.setdefault(key, []).append(row)
    result = []
    for group in groups.values():
        merged = _merge(group)
        result.extend(group if merged is None else [merged])
    return result


def _merge(group: list[_Row]) -> _Row | None:
    if len(group) == 1:
        return None
    columns = [
        _one_pattern(list(column)) for column in zip(*((r.name, *r.others) for r in group), strict=True)
    ]
    known = [column for column in columns if column is not None]
    return _Row(known[0], tuple(known[1:])) if len(known) == len(columns) else None


def _one_pattern(names: list[str]) -> str | None:
    """Return one pattern for names that are equal or differ in one number outside braces, else None."""
    if len(set(names)) == 1:
        return names[0]
    parts = [re.split(r"(\d+)", name) for name in names]
    if len({len(part) for part in parts}) > 1:
        return None
    differing = [i for i, values in enumerate(zip(*parts, strict=True)) if len(set(values)) > 1]
    if len(differing) != 1 or differing[0] % 2 == 0:
        return None
    before, after = "".join(parts[0][: differing[0]]), "".join(parts[0][differing[0] + 1 :])
    if before.count("{") != before.count("}") or before.count("(") != before.count(")"):
        return None
    return f"{before}{{{_number_range([int(part[differing[0]]) for part in parts])}}}{after}"


def _number_range(numbers: Sequence[int]) -> str:
    if len(numbers) > 2 and list(numbers) == list(range(numbers[0], numbers[-1] + 1)):
        return f"{numbers[0]}..{numbers[-1]}"
    return ",".join(map(str, numbers))


def _numbers(name: str) -> list[re.Match[str]]:
    """Return the numbers of a name that stand outside of braces."""
    return list(re.finditer(r"\d+(?![^{]*\})", name))


def _layer(name: str) -> str:
    """Return the layer of a parameter; a convolution's normalization belongs to it."""
    return name.rpartition(".")[0].removesuffix(".norm")


def _natural(name: str) -> list[tuple[int, str]]:
    """Return a key that sorts 2 before 10."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", name)]


def _shapes_of(shapes: Sequence[Shape | str]) -> str:
    parts = []
    for shape, group in groupby(map(str, shapes)):
        count = len(list(group))
        parts.append(shape if count == 1 or not shape.startswith("(") else f"{count}x{shape}")
    return " ".join(parts)
