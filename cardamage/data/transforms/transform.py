"""The deterministic transforms beyond fvcore's, under the name of Detectron2's module."""

from __future__ import annotations

from cardamage.absent import absent_names
from cardamage.data.transforms.color import ColorTransform, PILColorTransform
from cardamage.data.transforms.resize import ExtentTransform, ResizeTransform
from cardamage.data.transforms.rotate import RotationTransform

__all__ = ["ColorTransform", "ExtentTransform", "PILColorTransform", "ResizeTransform", "RotationTransform"]

__getattr__ = absent_names(__name__)
