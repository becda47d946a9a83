"""Annotation formats: each room reads files into one dataset in memory and writes it; here, dataset dicts."""

from __future__ import annotations

from .coco import load_coco_json, read_coco, register_coco_instances, write_coco
from .labelme import load_labelme
from .via import load_via
from .yolo import load_yolo

__all__ = [
    "load_coco_json",
    "load_labelme",
    "load_via",
    "load_yolo",
    "read_coco",
    "register_coco_instances",
    "write_coco",
]
