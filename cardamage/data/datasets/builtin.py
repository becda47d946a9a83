"""Registering the built-in datasets, under the path where Detectron2 has it."""

from __future__ import annotations

from ...absent import absent_names
from ..registered.builtin import register_all_cityscapes, register_all_coco, register_all_lvis

__all__ = ["register_all_cityscapes", "register_all_coco", "register_all_lvis"]

__getattr__ = absent_names(__name__)
