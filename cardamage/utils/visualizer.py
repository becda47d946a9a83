"""The visualizer under Detectron2's path; it lives in :mod:`cardamage.visualization`."""

from __future__ import annotations

from cardamage.absent import absent_names
from cardamage.utils.colormap import random_color
from cardamage.visualization import ColorMode, GenericMask, VisImage, Visualizer

__all__ = ["ColorMode", "GenericMask", "VisImage", "Visualizer", "random_color"]

__getattr__ = absent_names(__name__)
