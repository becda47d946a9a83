"""AP tables and the sentences that explain them, for the log."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from tabulate import tabulate

from .coco_scoring import AREAS

__all__ = ["class_table", "explain", "overall_table"]

TASKS = {"bbox": "boxes", "segm": "masks"}


def overall_table(metrics: Mapping[str, float]) -> str:
    """Return one row of metrics under their names."""
    row = [_cell(value) for value in metrics.values()]
    align = ["right"] * len(row)
    return tabulate([row], headers=list(metrics), tablefmt="pipe", colalign=align, disable_numparse=True)


def class_table(rows: Sequence[tuple[str, float, float, int, int]]) -> str:
    """Return a table of classes, side by side when there are many.

    Args:
        rows: class name, AP and AP50 in percent, number of annotated objects, number of detections.
    """
    headers = ["class", "AP", "AP50", "objects", "found"]
    blocks = 1 if len(rows) <= 12 else 2
    height = math.ceil(len(rows) / blocks)
    cells = [
        [name, _cell(ap), _cell(ap50), str(objects), str(found)] for name, ap, ap50, objects, found in rows
    ]
    cells += [[""] * len(headers)] * (height * blocks - len(cells))
    lines = [sum((cells[b * height + i] for b in range(blocks)), []) for i in range(height)]
    align = ("left", "right", "right", "right", "right") * blocks
    return tabulate(lines, headers=headers * blocks, tablefmt="pipe", colalign=align, disable_numparse=True)


def explain(task: str, metrics: Mapping[str, float], *, objects: int, detections: int) -> list[str]:
    """Say in sentences why values are nan or zero.

    Args:
        task: ``"bbox"`` or ``"segm"``.
        metrics: the task's main metrics in percent.
        objects: number of annotated objects.
        detections: number of detections.
    """
    what = TASKS[task]
    if not objects:
        return [f"AP of {what} is nan: the dataset has no annotated object to score against."]
    if not detections:
        return [
            f"AP of {what} is nan: the model made no prediction. Train longer, or lower "
            "MODEL.ROI_HEADS.SCORE_THRESH_TEST."
        ]
    if metrics["AP50"] == 0:
        return [
            f"AP of {what} is 0: none of the {detections} predictions covers one of the {objects} annotated "
            "objects of its class well enough (IoU 0.5). Train longer, and check that the class names match."
        ]
    empty = [
        f"AP{suffix} ({meaning})" for suffix, meaning in AREAS.items() if math.isnan(metrics[f"AP{suffix}"])
    ]
    return [f"nan for {what}: no annotated object falls under {', '.join(empty)}."] if empty else []


def _cell(value: float) -> str:
    return "nan" if math.isnan(value) else f"{value:.2f}"
