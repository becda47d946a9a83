"""One mask that is pixels or polygons, whichever is asked for."""

from __future__ import annotations

import functools
from typing import Any

import cv2
import numpy as np
import pycocotools.mask as mask_util

from cardamage.structures import polygons_to_bitmask

__all__ = ["GenericMask"]


class GenericMask:
    """A mask that was given as run lengths, polygons or pixels, and can be had as polygons and as pixels.

    Attributes:
        height, width: of the picture.
    """

    def __init__(self, mask_or_polygons: Any, height: int, width: int) -> None:
        """Take a mask of height x width pixels.

        Args:
            mask_or_polygons: a COCO run-length dict, a list of polygons (x0, y0, x1, y1, ...), or an array
                (height, width), nonzero inside.
            height: of the picture.
            width: of the picture.

        Raises:
            ValueError: it is of another kind or size.
        """
        self.height, self.width = height, width
        self._polygons: list[np.ndarray] | None = None
        self._mask: np.ndarray | None = None
        if isinstance(mask_or_polygons, list):
            self._polygons = [np.asarray(polygon, dtype=float).reshape(-1) for polygon in mask_or_polygons]
            return
        self._mask = _decode(mask_or_polygons)
        if self._mask.shape != (height, width):
            raise ValueError(f"The mask is of size {self._mask.shape}, the picture of {(height, width)}.")

    @functools.cached_property
    def mask(self) -> np.ndarray:
        """The pixels, uint8 (height, width), 1 inside."""
        return self.polygons_to_mask(self._polygons or []) if self._mask is None else self._mask

    @property
    def polygons(self) -> list[np.ndarray]:
        """The outlines, of holes too, as vectors x0, y0, x1, y1, ..."""
        return self._outlines[0] if self._polygons is None else self._polygons

    @property
    def has_holes(self) -> bool:
        """Whether pixels outside are enclosed; False for a mask given as polygons."""
        return self._outlines[1] if self._polygons is None else False

    @functools.cached_property
    def _outlines(self) -> tuple[list[np.ndarray], bool]:
        return self.mask_to_polygons(self.mask)

    def mask_to_polygons(self, mask: np.ndarray) -> tuple[list[np.ndarray], bool]:
        """Trace pixels.

        Args:
            mask: (H, W), nonzero inside.

        Returns:
            Vectors x0, y0, x1, y1, ... through the centres of the outermost pixels, of 3 or more points, and
            whether there are holes.
        """
        pixels = (np.ascontiguousarray(mask) != 0).astype(np.uint8)
        contours, hierarchy = cv2.findContours(pixels, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
        # In cv2's coordinates, pixels have their centres at whole numbers.
        polygons = [contour.reshape(-1) + 0.5 for contour in contours if len(contour) >= 3]
        parents = np.zeros(0) if hierarchy is None else hierarchy[0, :, 3]
        return polygons, bool((parents >= 0).any())

    def polygons_to_mask(self, polygons: list[np.ndarray]) -> np.ndarray:
        """Draw polygons as COCO does, uint8 (height, width), 1 inside."""
        return polygons_to_bitmask(polygons, self.height, self.width).astype(np.uint8)

    def area(self) -> int:
        """Count the pixels."""
        return int(self.mask.sum())

    def bbox(self) -> np.ndarray:
        """Return the box around the drawn polygons, float64 x0, y0, x1, y1; zeros for an empty mask."""
        drawn = self.polygons_to_mask(self.polygons)
        x, y, width, height = mask_util.toBbox(mask_util.encode(np.asfortranarray(drawn)))
        return np.array([x, y, x + width, y + height])


def _decode(mask: Any) -> np.ndarray:
    if isinstance(mask, dict):
        rle = mask_util.frPyObjects(mask, *mask["size"]) if isinstance(mask["counts"], list) else mask
        return mask_util.decode(rle)
    if isinstance(mask, np.ndarray):
        return (mask != 0).astype(np.uint8)
    raise ValueError(
        f"A mask can be a run-length dict, a list of polygons or an array, not {type(mask).__name__}."
    )
