"""Checkpoints: saved whole, read safely, with Detectron2's parameter names."""

from __future__ import annotations

from cardamage.checkpoint.catalog import ModelCatalog
from cardamage.checkpoint.checkpointer import Checkpointer
from cardamage.checkpoint.classes import checkpoint_thing_classes, num_classes_of
from cardamage.checkpoint.detection_checkpoint import DetectionCheckpointer
from cardamage.checkpoint.fitting import input_settings
from cardamage.checkpoint.periodic import PeriodicCheckpointer
from cardamage.checkpoint.reading import read_checkpoint

__all__ = [
    "Checkpointer",
    "DetectionCheckpointer",
    "ModelCatalog",
    "PeriodicCheckpointer",
    "checkpoint_thing_classes",
    "input_settings",
    "num_classes_of",
    "read_checkpoint",
]
