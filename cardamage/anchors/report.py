"""The table of a tuning, and the sentence of a training whose anchors miss boxes."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping

from tabulate import tabulate

from .coverage import SIZE_CLASSES, Coverage

__all__ = ["coverage_table", "legend"]


def coverage_table(rows: Mapping[str, Coverage]) -> str:
    """Return a table of how well anchors cover boxes, by the boxes' size.

    Args:
        rows: what was measured, by the name of the anchors.
    """
    headers = ["boxes", "share", "anchors", "best IoU", "reached", "at 0.5", "at 0.7"]
    headers += ["shapes: best IoU", "at 0.5", "at 0.7"]
    cells = []
    for size in SIZE_CLASSES:
        for name, coverage in rows.items():
            placed, shapes = coverage.placed[size], coverage.shapes[size]
            share = placed.boxes / max(coverage.placed["all"].boxes, 1)
            figures = [placed.mean, placed.reached, placed.recall(0.5), placed.recall(0.7)]
            figures += [shapes.mean, shapes.recall(0.5), shapes.recall(0.7)]
            cells.append([size, f"{share:.0%}", name, *map(_cell, figures)])
    align = ["left", "right", "left"] + ["right"] * 7
    return tabulate(cells, headers=headers, tablefmt="pipe", colalign=align, disable_numparse=True)


def _cell(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.3f}"


def legend(background: float) -> str:
    """Return what the table's columns are.

    Args:
        background: the overlap below which the RPN takes an anchor for background.
    """
    return textwrap.fill(
        "best IoU: mean over the boxes of the best overlap with any anchor placed on its stride on the padded"
        " picture, as the RPN matches them; at 0.5 and 0.7: best possible recall, the share of the boxes"
        f" whose best overlap is at least this; reached: the same at {background:g}, for boxes smaller than"
        f" the smallest anchor as much less as they are smaller, down to {background / 3:.2g}. shapes: with"
        " each anchor moved onto the box's centre. Every box counts once at each training size; small is"
        " below 32x32 pixels of the resized picture, large from 96x96 on.",
        width=110,
    )
