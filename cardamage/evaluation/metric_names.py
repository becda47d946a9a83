"""The names that :class:`~cardamage.evaluation.COCOEvaluator` gives its numbers."""

from __future__ import annotations

from collections.abc import Sequence

from .coco_evaluation import METRICS
from .coco_tables import TASKS

__all__ = ["metric_names"]


def metric_names(thing_classes: Sequence[str], datasets: Sequence[str] = ()) -> list[str]:
    """Return what can be measured, flattened: ``segm/AP``, ``bbox/AP-dent``, ``cars_val/segm/AP50`` ...

    Args:
        thing_classes: class names of the data.
        datasets: names of the test sets, which stand in front where there are several.
    """
    # A single class has no number of its own.
    of_classes = [f"AP-{name}" for name in thing_classes] if len(thing_classes) > 1 else []
    plain = [f"{task}/{number}" for task in TASKS for number in (*METRICS, *of_classes)]
    return plain + [f"{dataset}/{name}" for dataset in datasets for name in plain]
