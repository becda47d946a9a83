"""Cityscapes' objects, under the path where Detectron2 has them."""

from __future__ import annotations

from ...absent import absent_names
from ..formats.masks.cityscapes import load_cityscapes_instances

__all__ = ["load_cityscapes_instances"]

__getattr__ = absent_names(__name__)
