"""Detections of one picture: kept, drawn and described."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Any

import numpy as np
import pycocotools.mask as mask_util

from cardamage.evaluation import instances_to_coco_json
from cardamage.structures import Instances
from cardamage.visualization import VisImage, Visualizer

__all__ = ["Predictor", "batched", "describe_instances", "draw_instances", "keep_above"]

Predictor = Callable[[list[np.ndarray]], list[dict[str, Any]]]
"""From BGR pictures to ``{"instances": ...}`` each, such as a ``DefaultPredictor``."""


def describe_instances(instances: Instances, metadata: Any = None) -> list[dict[str, Any]]:
    """Describe detections for JSON.

    Returns:
        One record per object: ``class``, ``class_id``, ``score``, ``bbox`` (x0, y0, x1, y1) and, with masks,
        ``segmentation`` (COCO run lengths) and ``area_px``.
    """
    names = (metadata.get("thing_classes", None) if metadata is not None else None) or []
    records = []
    for found in instances_to_coco_json(instances, None):
        label, (x, y, width, height) = found["category_id"], found["bbox"]
        record = {
            "class": names[label] if label < len(names) else f"class {label}",
            "class_id": label,
            "score": round(found["score"], 4),
            "bbox": [round(v, 2) for v in (x, y, x + width, y + height)],
        }
        if "segmentation" in found:
            record["area_px"] = int(mask_util.area(found["segmentation"]))
            record["segmentation"] = found["segmentation"]
        records.append(record)
    return records


def draw_instances(bgr: np.ndarray, instances: Instances, metadata: Any = None) -> VisImage:
    """Draw detections over a uint8 (H, W, 3) BGR picture."""
    return Visualizer(bgr[..., ::-1], metadata).draw_instance_predictions(instances)


def keep_above(instances: Instances, threshold: float) -> Instances:
    """Move detections to the CPU and drop those with lower scores."""
    instances = instances.to("cpu")
    return instances[instances.scores >= threshold]


def batched(items: Iterable[Any], size: int) -> Iterator[list[Any]]:
    """Yield lists of up to ``size`` items."""
    iterator = iter(items)
    while batch := list(islice(iterator, max(1, size))):
        yield batch
