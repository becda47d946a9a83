"""What a conversion tells its user."""

from __future__ import annotations

import re
import shlex
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from tabulate import tabulate

from ....utils.counting import counted
from .convert import Conversion
from .log import ESCAPED
from .survey import part_rank

__all__ = ["class_table", "described"]


def described(done: Conversion, log: Path) -> str:
    """Tell what was read, what is not as it was, how the classes lie, and how to name the result.

    Args:
        done: the conversion.
        log: where each single case is.
    """
    lines = []
    for (source, (format, images)), report in zip(done.read.items(), done.reports, strict=True):
        lines += [f"{source}: {format}, {counted(images, 'image')}.", report.summary()]
    if done.losses.counts:
        lines += ["The target's format can't carry all of it:", *done.losses.summary().splitlines()[1:]]
    if done.groups:
        count, photos = sum(map(len, done.groups)), len(done.groups)
        lines.append(
            f"{count} images show {photos} {'photo' if photos == 1 else 'photos'} more than once (copies, "
            "near-duplicates); each photo is on one side."
        )
    lines += ["", class_table(done), "", *_alike(done.classes)]
    if done.losses.counts or any(report.counts for report in done.reports):
        lines.append(f"Each single case is in {log}.")
    for part, name in sorted(done.written.dataset.items(), key=lambda item: part_rank(item[0])):
        key = "DATASETS.TRAIN" if part in ("", "all") or part.startswith("train") else "DATASETS.TEST"
        lines.append(f"{part or 'all'}: {key} \"('{name}',)\"")
    lines += done.written.notes
    if not done.written.dataset:
        lines.append("Mask pictures have no name as a dataset; convert them to coco to train on them.")
    return "\n".join(lines).encode("utf-8", ESCAPED).decode()


def _alike(classes: Sequence[str]) -> list[str]:
    """Classes that only their spelling tells apart, as sets of several makers have them."""
    groups: dict[str, list[str]] = defaultdict(list)
    for name in classes:
        groups[re.sub(r"[\W_]+", "", name).casefold() or name].append(name)
    return [
        f"The classes {' and '.join(map(repr, names))} differ only in how they are written; "
        f"--rename {shlex.quote(f'{names[1]}={names[0]}')} makes them one."
        for names in groups.values()
        if len(names) > 1
    ]


def class_table(done: Conversion) -> str:
    """Lay out the objects of each class in each part, with the part's share of them."""
    parts = list(done.images)
    rows = [_row(name, [done.objects[part][name] for part in parts]) for name in done.classes]
    rows.append(_row("objects", [done.objects[part].total() for part in parts]))
    rows.append(_row("images", [done.images[part] for part in parts]))
    headers = ["class", *(parts if len(parts) > 1 else []), "total"]
    align = ("left", *["right"] * (len(headers) - 1))
    return tabulate(rows, headers=headers, disable_numparse=True, colalign=align)


def _row(name: str, counts: Sequence[int]) -> list[str]:
    total = sum(counts)
    shares = [f"{count} ({count / total:.1%})" if total else "0" for count in counts]
    return [name, *(shares if len(counts) > 1 else []), str(total)]
