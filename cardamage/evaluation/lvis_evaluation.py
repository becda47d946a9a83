"""LVIS average precision of boxes and masks."""

from __future__ import annotations

import logging
import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

from cardamage.errors import EvaluationError

from .coco_evaluation import METRICS, COCOEvaluator
from .coco_scoring import score_detections
from .coco_tables import overall_table

__all__ = ["LVISEvaluator"]

logger = logging.getLogger(__name__)

FREQUENCIES = {"APr": "r", "APc": "c", "APf": "f"}
"""Metrics of rare, common and frequent classes, and what LVIS's files call these."""


class LVISEvaluator(COCOEvaluator):
    """AP by LVIS's rules (Gupta et al. 2019, https://www.lvisdataset.org), in percent.

    :meth:`evaluate` returns ``{"bbox": {...}, "segm": {...}}``, each with AP, AP50, AP75, APs, APm, APl and,
    of rare, common and frequent classes, APr, APc, APf. Images and classes that weren't annotated together
    don't count. faster-coco-eval scores; the numbers are those of the ``lvis`` package.

    Args:
        dataset_name: a registered dataset with an LVIS file as ``json_file``.
        tasks: see :class:`COCOEvaluator`.
        distributed: see :class:`COCOEvaluator`.
        output_dir: folder for ``lvis_instances_results.json`` and ``instances_predictions.pth``.
        max_dets_per_image: limit of detections of an image, all classes together, best first; 300 unless
            given.

    Raises:
        EvaluationError: the ground truth can't be used, or isn't LVIS's.
    """

    results_file = "lvis_instances_results.json"

    def __init__(
        self,
        dataset_name: str,
        tasks: Any = None,
        distributed: bool = True,
        output_dir: str | None = None,
        *,
        max_dets_per_image: int | None = None,
    ) -> None:
        limit = 300 if max_dets_per_image is None else max_dets_per_image
        super().__init__(dataset_name, tasks, distributed, output_dir, max_dets_per_image=limit)
        for key, entries in (
            ("neg_category_ids", self._truth.images),
            ("not_exhaustive_category_ids", self._truth.images),
            ("frequency", self._truth.categories),
        ):
            if any(key not in entry for entry in entries):
                raise EvaluationError(
                    f"The ground truth of {dataset_name!r} has entries without {key!r}, so it isn't LVIS's; "
                    "evaluate it with COCOEvaluator."
                )

    def _contiguous_to_category(self) -> dict[int, int]:
        ids = sorted(category["id"] for category in self._truth.categories)
        return super()._contiguous_to_category() or dict(enumerate(ids))

    def _score(
        self, task: str, detections: Sequence[dict[str, Any]], img_ids: Sequence[int] | None
    ) -> dict[str, float]:
        kept = self._that_count(_best(detections, self._max_dets))
        if not kept:
            logger.warning("No prediction counts, so AP of %s on %r is nan.", task, self._truth.name)
            return dict.fromkeys((*METRICS, *FREQUENCIES), math.nan)
        scores = score_detections(
            self._truth, kept, task, max_dets=self._max_dets, img_ids=img_ids, federated=True
        )
        metrics = scores.metrics()
        for name, frequency in FREQUENCIES.items():
            group = {c["id"] for c in self._truth.categories if c["frequency"] == frequency}
            metrics[name] = scores.average_precision(category_id=group)
        logger.info("AP of %s on %r, in percent:\n%s", task, self._truth.name, overall_table(metrics))
        return metrics

    def _that_count(self, detections: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
        """Those of classes that their image shows, or was searched for in vain."""
        known = {(a["image_id"], a["category_id"]) for a in self._truth.annotations}
        known |= {(i["id"], category) for i in self._truth.images for category in i["neg_category_ids"]}
        return [d for d in detections if (d["image_id"], d["category_id"]) in known]


def _best(detections: Iterable[dict[str, Any]], limit: int) -> list[dict[str, Any]]:
    """The best of each image, in the order of score, the first of equals first."""
    by_image = defaultdict(list)
    for detection in detections:
        by_image[detection["image_id"]].append(detection)
    kept: list[dict[str, Any]] = []
    for found in by_image.values():
        if len(found) > limit:
            found = sorted(found, key=lambda detection: detection["score"], reverse=True)[:limit]
        kept.extend(found)
    return kept
