"""How many boxes anchors could find at best, over all picture sizes of a training and by the boxes' size."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from cardamage.config import CfgNode

from .boxes import AnnotatedBoxes, resize_boxes
from .grid import AnchorGrid
from .overlap import best_shape_overlaps, placed_overlaps

__all__ = [
    "ENOUGH",
    "SIZE_CLASSES",
    "Coverage",
    "Tally",
    "background_of",
    "measure_coverage",
    "needed_overlaps",
]

ENOUGH = 0.98
"""The share of the boxes that should be within the anchors' reach."""

# Areas in pixels of the resized picture, from and below; COCO's bounds.
SIZE_CLASSES = {
    "all": (0.0, np.inf),
    "small": (0.0, 32.0**2),
    "medium": (32.0**2, 96.0**2),
    "large": (96.0**2, np.inf),
}
# Of 0.005 each; thresholds in use lie on them, so that a share is a sum of whole bins.
_STEPS = 200


def background_of(cfg: CfgNode) -> float:
    """Return the overlap below which the RPN takes an anchor for background: MODEL.RPN.IOU_THRESHOLDS[0]."""
    return float(cfg.MODEL.RPN.IOU_THRESHOLDS[0])


def needed_overlaps(areas: np.ndarray, grid: AnchorGrid, background: float) -> np.ndarray:
    """Return the best overlap from which on a box is within the anchors' reach.

    It is what keeps an anchor from being background; for boxes smaller than the smallest anchor as much less
    as they are smaller, down to a third. docs/decisions/011-what-recall-anchors-are-judged-by.md tells why.

    Args:
        areas: (N,) of the boxes.
        grid: the anchors.
        background: see :func:`background_of`.

    Returns:
        (N,) float64.
    """
    smallest = np.prod(grid.shapes, axis=1).min()
    return background * np.clip(areas / smallest, 1 / 3, 1)


@dataclass
class Tally:
    """Best overlaps of boxes, counted in bins.

    Attributes:
        histogram: (201,) int64 boxes by best overlap: at least 0, 0.005, ... 1.
        total: the sum of the overlaps.
        within: how many of the boxes are within the anchors' reach.
    """

    histogram: np.ndarray
    total: float = 0.0
    within: int = 0

    @classmethod
    def empty(cls) -> Tally:
        """Return one of no boxes."""
        return cls(np.zeros(_STEPS + 1, dtype=np.int64))

    def add(self, overlaps: np.ndarray, needed: np.ndarray) -> None:
        """Count further boxes: (N,) best overlaps, and :func:`needed_overlaps`."""
        # A hair more, or 0.7 in float64 would lie below its bin.
        places = np.floor(overlaps * _STEPS + 1e-9).astype(np.int64).clip(0, _STEPS)
        self.histogram += np.bincount(places, minlength=_STEPS + 1)
        self.total += float(overlaps.sum())
        self.within += int((overlaps >= needed).sum())

    @property
    def boxes(self) -> int:
        """How many boxes were counted."""
        return int(self.histogram.sum())

    @property
    def mean(self) -> float:
        """The mean best overlap; nan without boxes."""
        return self.total / self.boxes if self.boxes else float("nan")

    @property
    def reached(self) -> float:
        """The share of the boxes within the anchors' reach; nan without boxes."""
        return self.within / self.boxes if self.boxes else float("nan")

    def recall(self, threshold: float) -> float:
        """Return the share of boxes with a best overlap of at least this, to 0.005; nan without boxes."""
        return float(self.recalls()[round(threshold * _STEPS)])

    def recalls(self) -> np.ndarray:
        """Return (201,) the share of boxes with at least 0, 0.005, ... 1; all nan without boxes."""
        at_least = self.histogram[::-1].cumsum()[::-1]
        return at_least / self.boxes if self.boxes else np.full(len(at_least), np.nan)


@dataclass(frozen=True)
class Coverage:
    """How well anchors cover boxes.

    Attributes:
        placed: by size class, of all anchors placed on their strides on the padded picture: what the RPN
            matches.
        shapes: by size class, of anchors moved onto each box's centre: what is left of it when only shapes
            count.
    """

    placed: dict[str, Tally]
    shapes: dict[str, Tally]


def measure_coverage(
    boxes: AnnotatedBoxes, sizes: Sequence[tuple[int, int]], grid: AnchorGrid, background: float
) -> Coverage:
    """Measure how well anchors cover the boxes of a training.

    Args:
        boxes: as annotated.
        sizes: what pictures are resized to, see :func:`~cardamage.anchors.boxes.training_sizes`; every box
            counts once at each.
        grid: the anchors.
        background: see :func:`background_of`.

    Returns:
        The counts.
    """
    coverage = Coverage(*({name: Tally.empty() for name in SIZE_CLASSES} for _ in range(2)))
    anchors = grid.shapes
    for resized in resize_boxes(boxes, sizes):
        placed, alone = placed_overlaps(resized, grid), best_shape_overlaps(resized.shapes, anchors)
        areas = np.prod(resized.shapes, axis=1)
        needed = needed_overlaps(areas, grid, background)
        for name, (low, high) in SIZE_CLASSES.items():
            inside = (areas >= low) & (areas < high)
            coverage.placed[name].add(placed[inside], needed[inside])
            coverage.shapes[name].add(alone[inside], needed[inside])
    return coverage
