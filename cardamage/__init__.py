"""Mask R-CNN for car damage: annotate with Labelme, train with one command, get COCO AP and pictures.

The public names follow Detectron2's sub-paths (``cardamage.config.get_cfg``,
``cardamage.engine.DefaultTrainer`` and so on). Importing this package alone loads nothing heavy.
"""

from __future__ import annotations

import warnings

from cardamage.absent import install_finder

__all__ = ["__version__"]

__version__ = "0.1.0"

# Importing fvcore.nn compiles losses with a function that newer torch warns about.
warnings.filterwarnings("ignore", message=r".*torch\.jit\.script.* is deprecated", category=FutureWarning)

install_finder()
