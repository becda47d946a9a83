"""How well anchors cover boxes: placed on their cells as the RPN matches them, or by their shapes alone."""

from __future__ import annotations

import numpy as np

from .boxes import PlacedBoxes
from .grid import AnchorGrid

__all__ = ["best_shape_overlaps", "level_overlaps", "placed_overlaps", "shape_overlaps"]

# Pairs of a box and an anchor that are looked at together: bounds the memory.
_PAIRS = 1 << 20


def placed_overlaps(boxes: PlacedBoxes, grid: AnchorGrid) -> np.ndarray:
    """Return the best overlap that an anchor of the whole padded picture has with each box.

    The overlap's area is that in x times that in y, and each depends on one coordinate of the anchor's place
    only and falls with its distance from the box's: so of an anchor's places the nearest in both coordinates
    is the best, and the whole grid need not be made.

    Args:
        boxes: at the size that the network sees.
        grid: the anchors. Each picture is padded alone; in a batch, which is padded to its largest picture,
            a box at the right or lower edge may be covered a little better.

    Returns:
        (N,) float64 intersection over union; 0 where no anchor overlaps.
    """
    best = np.zeros(len(boxes))
    for level in range(len(grid.cells)):
        np.maximum(best, level_overlaps(boxes, grid, level), out=best)
    return best


def level_overlaps(boxes: PlacedBoxes, grid: AnchorGrid, level: int) -> np.ndarray:
    """Return :func:`placed_overlaps` with the anchors of one feature map alone, (N,) float64."""
    best = np.zeros(len(boxes))
    step = max(_PAIRS // max(len(grid.cells[level]), 1), 1)
    for begin in range(0, len(boxes), step):
        part = slice(begin, begin + step)
        best[part] = _best_of_level(boxes.corners[part], boxes.pictures[part], grid, level)
    return best


def _best_of_level(corners: np.ndarray, pictures: np.ndarray, grid: AnchorGrid, level: int) -> np.ndarray:
    cell, stride, counts = grid.cells[level], grid.strides[level], grid.map_size(pictures, level)
    inside = np.ones((len(corners), len(cell)))
    # Axis 0 is x, whose length stands second in sizes.
    for axis in (0, 1):
        low, high = corners[:, axis, None], corners[:, axis + 2, None]
        begin, end = cell[:, axis], cell[:, axis + 2]
        first, last = _places(counts[:, 1 - axis, None], pictures[:, 1 - axis, None], begin, end, grid, level)
        wanted = ((low + high) - (begin + end)) / 2
        place = np.clip(np.rint(wanted / stride - grid.offset), first, last)
        point = (place + grid.offset) * stride
        shared = np.minimum(high, point + end) - np.maximum(low, point + begin)
        inside *= np.where(last >= first, shared.clip(min=0), 0.0)
    areas = np.prod(corners[:, 2:] - corners[:, :2], axis=1)[:, None]
    return (inside / (areas + np.prod(cell[:, 2:] - cell[:, :2], axis=1) - inside)).max(axis=1)


def _places(
    count: np.ndarray, length: np.ndarray, begin: np.ndarray, end: np.ndarray, grid: AnchorGrid, level: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return the first and the last index along an axis that an anchor may stand at."""
    first, last = np.zeros_like(begin), (count - 1).astype(np.float64)
    if grid.boundary < 0:
        return first, last
    stride = grid.strides[level]
    lowest = np.ceil((-grid.boundary - begin) / stride - grid.offset)
    # Strictly inside on the far side, as the RPN has it.
    highest = np.ceil((length + grid.boundary - end) / stride - grid.offset) - 1
    return np.maximum(first, lowest), np.minimum(last, highest)


def shape_overlaps(shapes: np.ndarray, anchors: np.ndarray) -> np.ndarray:
    """Return the overlap of boxes with anchors that share their centre.

    Args:
        shapes: (N, 2) widths and heights.
        anchors: (K, 2) likewise.

    Returns:
        (N, K) float64 intersection over union.
    """
    inside = np.minimum(shapes[:, None, 0], anchors[:, 0]) * np.minimum(shapes[:, None, 1], anchors[:, 1])
    return inside / (np.prod(shapes, axis=1)[:, None] + np.prod(anchors, axis=1) - inside)


def best_shape_overlaps(shapes: np.ndarray, anchors: np.ndarray) -> np.ndarray:
    """Return each box's best overlap of :func:`shape_overlaps`, (N,) float64, in bounded memory."""
    step = max(_PAIRS // max(len(anchors), 1), 1)
    parts = [shapes[begin : begin + step] for begin in range(0, len(shapes), step)]
    return np.concatenate([shape_overlaps(part, anchors).max(axis=1) for part in parts] or [np.zeros(0)])
