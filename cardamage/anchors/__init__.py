"""Anchors and the boxes they are to find: how well they cover a dataset, and fitting them to it."""

from .boxes import AnnotatedBoxes, PlacedBoxes, read_boxes, resize_boxes, training_sizes
from .coverage import ENOUGH, Coverage, Tally, background_of, measure_coverage
from .form import AnchorForm, AnchorLists
from .grid import AnchorGrid, grid_of_config, grid_of_model
from .report import coverage_table, legend
from .tuning import Tuned, TuningSettings, TuningTask, read_task, tune_anchors

__all__ = [
    "ENOUGH",
    "AnchorForm",
    "AnchorGrid",
    "AnchorLists",
    "AnnotatedBoxes",
    "Coverage",
    "PlacedBoxes",
    "Tally",
    "Tuned",
    "TuningSettings",
    "TuningTask",
    "background_of",
    "coverage_table",
    "grid_of_config",
    "grid_of_model",
    "legend",
    "measure_coverage",
    "read_boxes",
    "read_task",
    "resize_boxes",
    "training_sizes",
    "tune_anchors",
]
