"""Pictures: objects over photos, contact sheets, training curves."""

from __future__ import annotations

from .contact_sheet import compare, contact_sheet
from .generic_mask import GenericMask
from .plots import plot_training, read_metrics
from .video import VideoVisualizer
from .vis_image import VisImage, save_image
from .visualizer import ColorMode, Visualizer

__all__ = [
    "ColorMode",
    "GenericMask",
    "VideoVisualizer",
    "VisImage",
    "Visualizer",
    "compare",
    "contact_sheet",
    "plot_training",
    "read_metrics",
    "save_image",
]
