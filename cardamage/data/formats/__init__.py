"""Annotation formats: each reader turns files into dataset dicts and class names."""

from __future__ import annotations

from .coco import load_coco_json, read_coco, register_coco_instances
from .coco.dataset_dicts import write_coco
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
