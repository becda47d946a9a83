"""The visualizer of videos under Detectron2's path; it lives in :mod:`cardamage.visualization`."""

from __future__ import annotations

from cardamage.absent import absent_names
from cardamage.visualization import VideoVisualizer

__all__ = ["VideoVisualizer"]

__getattr__ = absent_names(__name__)
