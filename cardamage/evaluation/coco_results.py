"""Detections as records of COCO's result format."""

from __future__ import annotations

from typing import Any

import numpy as np
import pycocotools.mask as mask_util
import torch

from cardamage.structures import Instances, RLEMasks

__all__ = ["instances_to_coco_json"]


def instances_to_coco_json(instances: Instances, img_id: Any) -> list[dict[str, Any]]:
    """Write the detections of one image in COCO's result format.

    Args:
        instances: with ``pred_boxes``, ``scores``, ``pred_classes`` and, if masks were predicted,
            ``pred_masks``: (R, H, W) bool or ``RLEMasks``. On any device.
        img_id: the image's id.

    Returns:
        One record per detection: ``image_id``, ``category_id`` (as predicted, from 0), ``bbox`` as
        (x, y, width, height), ``score`` and, with masks, ``segmentation``: a run-length mask whose ``counts``
        is text.
    """
    if len(instances) == 0:
        return []
    boxes = instances.pred_boxes.tensor.detach().cpu().clone()
    boxes[:, 2:] -= boxes[:, :2]
    columns = zip(boxes.tolist(), instances.scores.tolist(), instances.pred_classes.tolist(), strict=True)
    records: list[dict[str, Any]] = [
        {"image_id": img_id, "category_id": label, "bbox": box, "score": score}
        for box, score, label in columns
    ]
    if instances.has("pred_masks"):
        for record, rle in zip(records, _run_lengths(instances.pred_masks), strict=True):
            record["segmentation"] = rle
    return records


def _run_lengths(masks: RLEMasks | torch.Tensor) -> list[dict[str, Any]]:
    if isinstance(masks, RLEMasks):
        return [_as_text(rle) for rle in masks]
    # One at a time: all of a large photo's masks in Fortran order would double the memory they take.
    return [
        _as_text(mask_util.encode(np.asfortranarray(mask.cpu().numpy().astype(np.uint8, copy=False))))
        for mask in masks
    ]


def _as_text(rle: dict[str, Any]) -> dict[str, Any]:
    counts = rle["counts"]
    size = [int(side) for side in rle["size"]]
    return {"size": size, "counts": counts.decode("ascii") if isinstance(counts, bytes) else counts}
