"""The visualizer under Detectron2's path; it lives in :mod:`cardamage.visualization`."""

from __future__ import annotations

from cardamage.visualization import ColorMode, VisImage, Visualizer

__all__ = ["ColorMode", "VisImage", "Visualizer"]
