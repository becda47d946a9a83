"""Class names that are meant to be the same."""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from collections.abc import Sequence
from itertools import combinations

__all__ = ["misspelled", "numbered", "same_but_case", "stands_for_nothing", "trimmed"]

# One letter apart, and both words of their own.
_APART = frozenset(map(frozenset, [("light", "right"), ("hood", "wood"), ("rim", "trim"), ("car", "scar")]))
# Names of so many letters may differ by two, shorter ones by one.
_LONG, _SHORT = 8, 4
_AROUND = " \t\r\n\u00a0\u200b\ufeff-\u2013\u2022*'\","
_NOTHING = frozenset(
    "none null nil nan na background bg unknown unlabeled unlabelled undefined undetermined unnamed ignore "
    "todo tbd xxx".split()
)
_NUMBERED = re.compile(r"(.*[^\W\d_])[\s_.#-]*\d{1,3}", re.DOTALL)
# Above this, pairs are not looked for: these are no names but ids.
_MOST = 2000


def _words(name: str) -> list[str]:
    return re.findall(r"[^\W_]+", unicodedata.normalize("NFKC", name).casefold())


def trimmed(name: str) -> str:
    """Return a name without the spaces and signs around it that an export or a slip left there."""
    return name.strip(_AROUND)


def stands_for_nothing(name: str) -> bool:
    """Whether a name tells nothing of what it is given to: it says so, or has no letter or digit."""
    joined = "".join(_words(name))
    return bool(name.strip()) and (not joined or joined in _NOTHING)


def numbered(names: Sequence[str]) -> dict[str, list[str]]:
    """Group names that are one with numbers behind it, such as dent1 and dent_2; two or more each."""
    groups: dict[str, list[str]] = defaultdict(list)
    for name in dict.fromkeys(names):
        found = _NUMBERED.fullmatch(name.strip())
        if found:
            groups[found[1]].append(name)
    return {name: group for name, group in groups.items() if len(group) > 1}


def same_but_case(names: Sequence[str]) -> list[list[str]]:
    """Group names that differ in upper and lower case or in separators only, in their order."""
    groups: dict[str, list[str]] = defaultdict(list)
    for name in dict.fromkeys(names):
        key = "".join(_words(name))
        if key:
            groups[key].append(name)
    return [group for group in groups.values() if len(group) > 1]


def misspelled(names: Sequence[str]) -> list[tuple[str, str]]:
    """Pairs of names of which one could be a slip of the other; names that differ in case only are none.

    Word by word they are the same but for a letter or two, and digits don't differ; or the same words are in
    another order.
    """
    distinct = list(dict.fromkeys(names))[:_MOST]
    words = {name: _words(name) for name in distinct}
    found = []
    for one, other in combinations(distinct, 2):
        a, b = words[one], words[other]
        if "".join(a) != "".join(b) and (_alike(a, b) or _joined_alike(a, b)):
            found.append((one, other))
    return found


def _alike(one: list[str], other: list[str]) -> bool:
    if len(one) != len(other):
        return False
    if sorted(one) == sorted(other):
        return True
    different = [(a, b) for a, b in zip(one, other, strict=True) if a != b]
    return len(different) == 1 and _slip(*different[0])


def _joined_alike(one: list[str], other: list[str]) -> bool:
    """``head lamp`` and ``headlmp``: other spaces, and a slip."""
    return len(one) != len(other) and _slip("".join(one), "".join(other))


def _slip(one: str, other: str) -> bool:
    shorter = min(len(one), len(other))
    if shorter < _SHORT - 1 or max(len(one), len(other)) < _SHORT or frozenset((one, other)) in _APART:
        return False
    if re.sub(r"\D", "", one) != re.sub(r"\D", "", other):
        return False
    if one in (f"{other}s", f"{other}es") or other in (f"{one}s", f"{one}es"):
        return True
    return _distance(one, other) <= (2 if shorter >= _LONG else 1)


def _distance(one: str, other: str) -> int:
    """Letters to insert, delete, change or swap with their neighbour (Damerau, 1964), exact up to 2."""
    if abs(len(one) - len(other)) > 2:
        return 3
    before: list[int] = []
    row = list(range(len(other) + 1))
    for i, a in enumerate(one, start=1):
        last, before, row = before, row, [i]
        for j, b in enumerate(other, start=1):
            cost = min(before[j] + 1, row[j - 1] + 1, before[j - 1] + (a != b))
            if i > 1 and j > 1 and a == other[j - 2] and one[i - 2] == b:
                cost = min(cost, last[j - 2] + 1)
            row.append(cost)
    return row[-1]
