"""Which evaluator a dataset is scored by."""

from __future__ import annotations

from cardamage.catalog import MetadataCatalog

from .cityscapes_evaluation import CityscapesInstanceEvaluator
from .coco_evaluation import COCOEvaluator
from .lvis_evaluation import LVISEvaluator

__all__ = ["evaluator_of"]


def evaluator_of(dataset_name: str, output_dir: str | None = None) -> COCOEvaluator:
    """Make the evaluator that a dataset's metadata names as its ``evaluator_type``.

    Args:
        dataset_name: a registered or ad-hoc dataset. ``"lvis"`` and ``"cityscapes_instance"`` have evaluators
            of their own; any other type, and none, is scored by COCO's rules.
        output_dir: folder for the files of detections.

    Raises:
        EvaluationError: the ground truth can't be used.
    """
    kind = MetadataCatalog.get(dataset_name).get("evaluator_type")
    if kind == "lvis":
        return LVISEvaluator(dataset_name, output_dir=output_dir)
    if kind == "cityscapes_instance":
        return CityscapesInstanceEvaluator(dataset_name, output_dir=output_dir)
    return COCOEvaluator(dataset_name, output_dir=output_dir)
