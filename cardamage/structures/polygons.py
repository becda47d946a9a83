"""Rasterizing and measuring polygons: the pycocotools reference.

:mod:`cardamage.layers.rasterize` does the same for many boxes at once on any device.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pycocotools.mask as mask_util
import torch


def polygon_area(x: np.ndarray, y: np.ndarray) -> float:
    """Return the area inside a polygon by the shoelace formula; self-crossings cancel."""
    return 0.5 * abs(float(np.dot(x, np.roll(y, 1)) - np.dot(y, np.roll(x, 1))))


def polygons_to_bitmask(polygons: Sequence[np.ndarray], height: int, width: int) -> np.ndarray:
    """Draw the union of polygons as COCO does.

    Args:
        polygons: vectors x0, y0, x1, y1, ... of at least 3 points, in pixels.
        height: the mask's height.
        width: the mask's width.

    Returns:
        A bool array (height, width).
    """
    if len(polygons) == 0:
        return np.zeros((height, width), dtype=bool)
    # A list of lists, never an array: pycocotools takes an array, or 4 numbers, for boxes.
    rles = mask_util.frPyObjects([np.asarray(p, dtype=np.float64).tolist() for p in polygons], height, width)
    return mask_util.decode(mask_util.merge(rles)).astype(bool)


def rasterize_polygons_within_box(
    polygons: Sequence[np.ndarray], box: np.ndarray, mask_size: int
) -> torch.Tensor:
    """Draw what of an instance's polygons lies in a box, stretched to a square mask.

    Args:
        polygons: the polygons of one instance, in pixels of the image.
        box: x0, y0, x1, y1. Sides shorter than 0.1 pixels count as 0.1.
        mask_size: the side of the mask in cells.

    Returns:
        A bool tensor (mask_size, mask_size).
    """
    corner, sides = np.float32(box[:2]), np.float32(box[2:]) - np.float32(box[:2])
    # The ratio is a float32 as the boxes are: the device version must round the same way.
    ratio = (np.float32(mask_size) / np.maximum(sides, np.float32(0.1))).astype(np.float64)
    moved = [(np.asarray(p, np.float64).reshape(-1, 2) - corner.astype(np.float64)) * ratio for p in polygons]
    return torch.from_numpy(polygons_to_bitmask([p.reshape(-1) for p in moved], mask_size, mask_size))
