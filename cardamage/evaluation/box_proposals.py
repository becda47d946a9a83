"""Average recall of class-agnostic proposals, to judge the first stage alone."""

from __future__ import annotations

import math
import os
import pickle
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torchvision.ops import box_iou

from cardamage.structures import BoxMode
from cardamage.utils.files import atomic_write

from .coco_ground_truth import GroundTruth

__all__ = ["average_recalls", "write_box_proposals"]

AREA_RANGES = {"": (0.0, 1e10), "s": (0.0, 32.0**2), "m": (32.0**2, 96.0**2), "l": (96.0**2, 1e10)}
IOU_THRESHOLDS = torch.linspace(0.5, 0.95, 10, dtype=torch.float64)


def average_recalls(
    truth: GroundTruth, predictions: Sequence[Mapping[str, Any]], limits: Sequence[int] = (100, 1000)
) -> dict[str, float]:
    """Return AR in percent for each limit of proposals and object size (``AR@100``, ``ARs@100`` ...).

    Recall is averaged over IoU 0.5 to 0.95. Each object is matched with at most one proposal, best overlap
    first. Crowds are left out. A value is nan where no object has that size.

    Args:
        truth: the annotated objects.
        predictions: mappings with ``image_id`` and ``proposals``: ``proposal_boxes`` and
            ``objectness_logits``.
        limits: how many proposals of an image count, best first.
    """
    by_image = defaultdict(list)
    for annotation in truth.annotations:
        if not annotation["iscrowd"]:
            by_image[annotation["image_id"]].append(annotation)
    pairs = [(_ranked_boxes(p["proposals"]), by_image[truth.image_id(p["image_id"])]) for p in predictions]
    results = {}
    for limit in limits:
        for suffix, (low, high) in AREA_RANGES.items():
            overlaps = [
                _matched_overlaps(boxes[:limit], [a["bbox"] for a in objects if low <= a["area"] <= high])
                for boxes, objects in pairs
            ]
            results[f"AR{suffix}@{limit}"] = _recall(torch.cat(overlaps) if overlaps else torch.zeros(0))
    return results


def write_box_proposals(path: str | os.PathLike[str], predictions: Sequence[Mapping[str, Any]]) -> None:
    """Write proposals to a file for DATASETS.PROPOSAL_FILES_*, whole or not at all.

    The file is a pickled dict of plain values and arrays, as Detectron2 writes and reads it.

    Args:
        path: the file.
        predictions: see :func:`average_recalls`; boxes are in the pictures' own pixels.
    """
    found = [prediction["proposals"] for prediction in predictions]
    content = {
        "ids": [prediction["image_id"] for prediction in predictions],
        "boxes": [proposals.proposal_boxes.tensor.detach().numpy() for proposals in found],
        "objectness_logits": [proposals.objectness_logits.detach().numpy() for proposals in found],
        "bbox_mode": int(BoxMode.XYXY_ABS),
    }
    with atomic_write(path, "wb") as file:
        pickle.dump(content, file)


def _ranked_boxes(proposals: Any) -> torch.Tensor:
    order = proposals.objectness_logits.argsort(descending=True)
    return proposals.proposal_boxes.tensor[order].double()


def _matched_overlaps(boxes: torch.Tensor, objects: Sequence[Sequence[float]]) -> torch.Tensor:
    """Return one IoU per object, 0 for those without a proposal."""
    matched = torch.zeros(len(objects), dtype=torch.float64)
    if not len(boxes) or not objects:
        return matched
    corners = torch.as_tensor(np.asarray(objects, dtype=np.float64))
    corners[:, 2:] += corners[:, :2]
    overlaps = box_iou(boxes, corners)
    for i in range(min(overlaps.shape)):
        box, target = divmod(int(overlaps.argmax()), len(objects))
        matched[i] = overlaps[box, target]
        overlaps[box, :] = -1
        overlaps[:, target] = -1
    return matched


def _recall(overlaps: torch.Tensor) -> float:
    if not len(overlaps):
        return math.nan
    return 100.0 * float((overlaps[None] >= IOU_THRESHOLDS[:, None]).double().mean())
