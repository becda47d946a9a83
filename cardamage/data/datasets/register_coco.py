"""Registering COCO files, under an earlier path of Detectron2."""

from __future__ import annotations

from ...absent import absent_names
from ..formats.coco import register_coco_instances

__all__ = ["register_coco_instances"]

__getattr__ = absent_names(__name__)
