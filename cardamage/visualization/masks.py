"""Masks of any kind, reduced to what drawing needs: a window of pixels and its outlines."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import cv2
import numpy as np
import pycocotools.mask as mask_util
import torch

from cardamage.structures import BitMasks, PolygonMasks, RLEMasks

__all__ = ["DrawnMask", "read_masks"]

_SHIFT = 4  # bits of the fraction in cv2's fixed-point coordinates


class DrawnMask:
    """One object's mask on the canvas.

    Attributes:
        x, y: the window's upper left corner in canvas pixels.
        window: uint8 (h, w), 255 inside; (0, 0) if the mask is empty.
        outlines: int32 (N, 2) arrays of x, y in 1/16 px.
    """

    def __init__(self, window: np.ndarray, x: int, y: int, outlines: list[np.ndarray]) -> None:
        self.window, self.x, self.y, self.outlines = window, x, y, outlines

    @property
    def box(self) -> tuple[int, int, int, int]:
        """The window as x0, y0, x1, y1."""
        height, width = self.window.shape
        return self.x, self.y, self.x + width, self.y + height

    def area(self) -> int:
        """Count the pixels."""
        return int(np.count_nonzero(self.window))

    def thickness(self) -> float:
        """Estimate the width in px of a long thin shape, as twice its area over its outline's length."""
        around = sum(cv2.arcLength(outline.astype(np.float32), True) for outline in self.outlines)
        return 2 * self.area() * (1 << _SHIFT) / around if around else 1.0


def read_masks(masks: Any, scale: float, size: tuple[int, int]) -> list[DrawnMask]:
    """Turn masks of any supported kind into drawable ones.

    Args:
        masks: ``PolygonMasks``, ``BitMasks``, ``RLEMasks``, an (N, H, W) array or tensor, or a list that
            holds for each object polygons, a run-length dict, an (H, W) array, or None.
        scale: canvas pixels per image pixel.
        size: (height, width) of the canvas.

    Raises:
        ValueError: a mask is of another kind.
    """
    if isinstance(masks, PolygonMasks):
        masks = masks.polygons
    elif isinstance(masks, BitMasks):
        masks = masks.tensor
    elif isinstance(masks, RLEMasks):
        masks = masks.rles
    return [_read(mask, scale, size) for mask in masks]


def _read(mask: Any, scale: float, size: tuple[int, int]) -> DrawnMask:
    if isinstance(mask, DrawnMask):
        return mask
    if mask is None:
        return _empty()
    if isinstance(mask, dict):
        return _from_rle(mask, scale)
    if isinstance(mask, torch.Tensor):
        mask = mask.detach().cpu().numpy()
    if isinstance(mask, np.ndarray) and mask.ndim == 2:
        return _from_pixels(mask, scale)
    if isinstance(mask, Sequence):
        return _from_polygons(mask, scale, size)
    raise ValueError(f"A mask can be polygons, run lengths or an (H, W) array, not {type(mask).__name__}.")


def _empty() -> DrawnMask:
    return DrawnMask(np.zeros((0, 0), np.uint8), 0, 0, [])


def _from_rle(rle: dict[str, Any], scale: float) -> DrawnMask:
    if isinstance(rle["counts"], list):
        rle = mask_util.frPyObjects(rle, *rle["size"])
    return _from_pixels(mask_util.decode(rle), scale)


def _from_pixels(mask: np.ndarray, scale: float) -> DrawnMask:
    pixels = mask if mask.dtype == np.uint8 else (mask > 0).astype(np.uint8)
    rows = np.flatnonzero(pixels.any(axis=1))
    columns = np.flatnonzero(pixels.any(axis=0))
    if not len(rows):
        return _empty()
    y, x = int(rows[0]), int(columns[0])
    window = np.ascontiguousarray(pixels[y : rows[-1] + 1, x : columns[-1] + 1])
    window = np.where(window > 0, np.uint8(255), np.uint8(0))
    if scale != 1:
        new_size = tuple(max(1, round(side * scale)) for side in reversed(window.shape))
        window = cv2.resize(window, new_size, interpolation=cv2.INTER_LINEAR)
        window = np.where(window >= 127, np.uint8(255), np.uint8(0))
        x, y = round(x * scale), round(y * scale)
    contours, _ = cv2.findContours(window, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    outlines = [(contour.reshape(-1, 2) + (x, y)).astype(np.int32) << _SHIFT for contour in contours]
    return DrawnMask(window, x, y, outlines)


def _from_polygons(polygons: Iterable[Any], scale: float, size: tuple[int, int]) -> DrawnMask:
    # Continuous coordinates have the first pixel's center at 0.5, cv2 has it at 0.
    points = [np.asarray(p, dtype=np.float64).reshape(-1, 2) * scale - 0.5 for p in polygons if len(p) >= 2]
    if not points:
        return _empty()
    low = np.floor(np.min([p.min(axis=0) for p in points], axis=0)).clip(0)
    high = np.ceil(np.max([p.max(axis=0) for p in points], axis=0)).clip(None, (size[1] - 1, size[0] - 1))
    outlines = [np.round(p * (1 << _SHIFT)).astype(np.int32) for p in points]
    if (high < low).any():  # all of it outside the picture
        return _empty()
    x, y = (int(v) for v in low)
    width, height = (int(v) + 1 for v in high - low)
    window = np.zeros((height, width), np.uint8)
    for outline in outlines:  # one by one: where two overlap, together they would leave a hole
        cv2.fillPoly(window, [outline - (np.array([x, y], np.int32) << _SHIFT)], 255, shift=_SHIFT)
    return DrawnMask(window, x, y, outlines)
