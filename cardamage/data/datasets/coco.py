"""COCO files, under the path where Detectron2 has them."""

from __future__ import annotations

from ...absent import absent_names
from ...catalog import convert_to_coco_dict, convert_to_coco_json
from ..formats.coco import load_coco_json, register_coco_instances

__all__ = ["convert_to_coco_dict", "convert_to_coco_json", "load_coco_json", "register_coco_instances"]

__getattr__ = absent_names(__name__)
