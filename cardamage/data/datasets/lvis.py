"""LVIS files, under the path where Detectron2 has them."""

from __future__ import annotations

from ..formats.coco.lvis import get_lvis_instances_meta, load_lvis_json, register_lvis_instances

__all__ = ["get_lvis_instances_meta", "load_lvis_json", "register_lvis_instances"]
