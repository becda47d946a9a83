"""The visualizer of videos under Detectron2's path; it lives in :mod:`cardamage.visualization`."""

from __future__ import annotations

from cardamage.visualization import VideoVisualizer

__all__ = ["VideoVisualizer"]
