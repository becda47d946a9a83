"""Loading and registering annotation files, under the paths where Detectron2 has it."""

from __future__ import annotations

from ...absent import absent_names
from ...catalog import convert_to_coco_json
from ..formats.coco import load_coco_json, register_coco_instances
from ..formats.coco.lvis import get_lvis_instances_meta, load_lvis_json, register_lvis_instances

__all__ = [
    "convert_to_coco_json",
    "get_lvis_instances_meta",
    "load_coco_json",
    "load_lvis_json",
    "register_coco_instances",
    "register_lvis_instances",
]

__getattr__ = absent_names(__name__)
