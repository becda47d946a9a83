"""Average precision of masks on Cityscapes."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

from cardamage.absent import absent_names

from .coco_evaluation import COCOEvaluator

__all__ = ["CityscapesInstanceEvaluator"]

logger = logging.getLogger(__name__)

__getattr__ = absent_names(__name__)


class CityscapesInstanceEvaluator(COCOEvaluator):
    """AP and AP50 of masks, in percent, under the name of Detectron2's evaluator for Cityscapes.

    COCO's rules score, over the same IoU thresholds. Those of cityscapesScripts differ in small ways: they
    leave out objects under 100 pixels and weigh groups otherwise, so their figures are near but not the same.

    Args:
        dataset_name: a registered dataset, such as ``cityscapes_fine_instance_seg_val``.
        output_dir: see :class:`COCOEvaluator`.
        max_dets_per_image: see :class:`COCOEvaluator`.
    """

    def __init__(
        self, dataset_name: str, *, output_dir: str | None = None, max_dets_per_image: int | None = None
    ) -> None:
        super().__init__(
            dataset_name, ("segm",), output_dir=output_dir, max_dets_per_image=max_dets_per_image
        )

    def evaluate(self, img_ids: Sequence[Any] | None = None) -> dict[str, Any]:
        """Score everything processed since the last reset.

        Args:
            img_ids: score these images only.

        Returns:
            ``{"segm": {"AP": percent, "AP50": percent}}``; empty as in :meth:`COCOEvaluator.evaluate`.
        """
        results = super().evaluate(img_ids)
        if "segm" in results:
            logger.info("These are COCO's AP; cityscapesScripts' rules give figures that differ a little.")
            results = {"segm": {name: results["segm"][name] for name in ("AP", "AP50")}}
        return results
