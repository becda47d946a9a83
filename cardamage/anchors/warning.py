"""A look at the anchors before a training: do they reach the boxes?"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from cardamage.config import CfgNode
from cardamage.data import DatasetFromList, DatasetMapper, MapDataset
from cardamage.data.transforms import ResizeShortestEdge
from cardamage.errors import DataError

from .boxes import AnnotatedBoxes, read_boxes, resize_targets
from .coverage import ENOUGH, background_of, measure_coverage
from .grid import grid_of_model

__all__ = ["unreached_boxes"]

# Looked at, evenly over the training data, so that it takes a fraction of a second.
_IMAGES, _BOXES = 2_000, 5_000


def unreached_boxes(cfg: CfgNode, model: nn.Module, loader: Any) -> str | None:
    """Tell of anchors that reach too few of the training boxes.

    Args:
        cfg: MODEL.RPN.IOU_THRESHOLDS and OUTPUT_DIR are read.
        model: the model to train.
        loader: its training loader; no picture is read.

    Returns:
        A sentence, or None where the anchors reach enough, or where that can't be told: the model has no
        anchors, the data is no list of dataset dicts, or its mapper doesn't resize by the short edge.
    """
    grid, targets = grid_of_model(model), _targets(loader)
    boxes = _some_boxes(loader) if grid is not None and targets else None
    if grid is None or not targets or not boxes:
        return None
    background = background_of(cfg)
    recall = measure_coverage(boxes, targets, grid, background).placed["all"].reached
    if recall >= ENOUGH:
        return None
    folder = Path(cfg.OUTPUT_DIR)
    return (
        f"The anchors' best possible recall is {recall:.3f}, below {ENOUGH}: {1 - recall:.1%} of the "
        f"training boxes overlap with no anchor by an IoU of {background:g} (down to {background / 3:.2g} "
        "where all anchors are larger), so they are hard to find. Anchors that fit better: "
        "python tools/tune_anchors.py "
        f"--config-file {folder / 'config.yaml'} -o {folder / 'anchors.yaml'}"
    )


def _mapped(loader: Any) -> MapDataset | None:
    dataset = getattr(loader, "dataset", None)
    dataset = getattr(dataset, "source", dataset)
    return dataset if isinstance(dataset, MapDataset) else None


def _targets(loader: Any) -> list[tuple[int, int]]:
    """What the loader's mapper resizes to; [] where that isn't known."""
    dataset = _mapped(loader)
    mapper = None if dataset is None else dataset.function
    if not isinstance(mapper, DatasetMapper):
        return []
    found = [aug for aug in mapper.augmentations.augs if isinstance(aug, ResizeShortestEdge)]
    if len(found) != 1:
        return []
    return resize_targets(found[0].short_edge_length, found[0].max_size, found[0].is_range)


def _some_boxes(loader: Any) -> AnnotatedBoxes | None:
    dataset = _mapped(loader)
    records = None if dataset is None else dataset.source
    if not isinstance(records, DatasetFromList) or not len(records):
        return None
    places = np.unique(np.linspace(0, len(records) - 1, _IMAGES).round().astype(int)).tolist()
    try:
        boxes = read_boxes([records[place] for place in places])
    except DataError:
        # The training will tell where it can't use a box, and may have a mapper of its own that can.
        return None
    return boxes.sample(_BOXES, np.random.default_rng(0)) if len(boxes) else None
