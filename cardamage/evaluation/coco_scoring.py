"""Average precision from ground truth and detections, by either of two implementations of COCO's rules.

The fast one (faster-coco-eval) gives the same numbers as the official one (pycocotools). Both are asked for
their precision array only; the averages are taken here.
"""

from __future__ import annotations

import contextlib
import io
import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from faster_coco_eval import COCO as FastCOCO
from faster_coco_eval import COCOeval_faster
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from .coco_ground_truth import GroundTruth

__all__ = ["AREAS", "Scores", "score_detections"]

AREAS = {"s": "area under 32x32 px", "m": "area of 32x32 to 96x96 px", "l": "area over 96x96 px"}
"""Suffixes of the metrics by object size, in the order of COCO's area ranges (after "all")."""


@dataclass
class Scores:
    """The outcome of one task.

    Attributes:
        precision: (T, R, K, A, M) float64: precision over IoU thresholds 0.5 to 0.95, recalls 0 to 1,
            categories, areas (all, small, medium, large) and limits of detections per image; -1 where there
            is no object.
        iou_thresholds: (T,) float64.
        category_ids: the K category ids of the ground truth, in the order of ``precision``.
    """

    precision: np.ndarray
    iou_thresholds: np.ndarray
    category_ids: list[int]

    def average_precision(
        self, iou: float | None = None, area: int = 0, category_id: int | Collection[int] | None = None
    ) -> float:
        """Return AP in percent at the largest limit of detections, nan where no object is annotated.

        Args:
            iou: one IoU threshold; by default the mean over all.
            area: 0 all, 1 small, 2 medium, 3 large.
            category_id: one category, or several; by default the mean over all.
        """
        chosen = self.precision[..., area, -1]
        if iou is not None:
            chosen = chosen[np.isclose(self.iou_thresholds, iou)]
        if category_id is not None:
            wanted = {category_id} if isinstance(category_id, int) else set(category_id)
            chosen = chosen[:, :, [place for place, i in enumerate(self.category_ids) if i in wanted]]
        chosen = chosen[chosen > -1]
        return 100.0 * float(np.mean(chosen)) if chosen.size else math.nan

    def metrics(self) -> dict[str, float]:
        """Return AP, AP50, AP75, APs, APm and APl in percent."""
        by_area = {f"AP{suffix}": self.average_precision(area=i) for i, suffix in enumerate(AREAS, start=1)}
        return {
            "AP": self.average_precision(),
            "AP50": self.average_precision(iou=0.5),
            "AP75": self.average_precision(iou=0.75),
            **by_area,
        }


def score_detections(
    truth: GroundTruth,
    detections: Sequence[dict[str, Any]],
    task: str,
    *,
    max_dets: int = 100,
    img_ids: Sequence[int] | None = None,
    fast: bool = True,
    federated: bool = False,
) -> Scores:
    """Score detections against the ground truth.

    Args:
        truth: what is there.
        detections: at least one record in COCO's result format, with the ground truth's ids. Not modified.
        task: ``"bbox"`` or ``"segm"``.
        max_dets: only this many detections of an image and category count, best scores first.
        img_ids: score these images only.
        fast: use faster-coco-eval rather than pycocotools.
        federated: score by LVIS's rules: an image's detections of a class count only where the class was
            annotated or looked for in vain there, and those that match nothing only where all of its objects
            are annotated. The ground truth's images have ``neg_category_ids`` and
            ``not_exhaustive_category_ids``, its categories a ``frequency``. Needs ``fast``.
    """
    # The area of a detected mask counts for the size ranges in "segm"; with a box present it would be the
    # box's.
    keys = ("image_id", "category_id", "score", "bbox" if task == "bbox" else "segmentation")
    records = [{key: record[key] for key in keys} for record in detections]
    with contextlib.redirect_stdout(io.StringIO()):  # pycocotools prints
        if fast:
            evaluation = _prepare_fast(truth.for_task(task), records, task, federated)
        else:
            evaluation = _prepare_official(truth.for_task(task), records, task)
        evaluation.params.maxDets = [1, min(10, max_dets), max_dets]
        if img_ids is not None:
            evaluation.params.imgIds = list(img_ids)
        evaluation.evaluate()
        evaluation.accumulate()
    return Scores(
        precision=np.asarray(evaluation.eval["precision"]),
        iou_thresholds=np.asarray(evaluation.params.iouThrs),
        category_ids=[int(category) for category in evaluation.params.catIds],
    )


def _prepare_fast(dataset: dict[str, Any], records: list[dict[str, Any]], task: str, federated: bool) -> Any:
    truth, quiet = FastCOCO(dataset), lambda *_: None
    found = truth.loadRes(records)
    return COCOeval_faster(truth, found, task, print_function=quiet, lvis_style=federated)


def _prepare_official(dataset: dict[str, Any], records: list[dict[str, Any]], task: str) -> Any:
    truth = COCO()
    truth.dataset = dataset
    truth.createIndex()
    return COCOeval(truth, truth.loadRes(records), task)
