"""Cropping and padding: fvcore's transforms, with polygons cut without a geometry library."""

from __future__ import annotations

import numpy as np
from fvcore.transforms.transform import CropTransform as _CropTransform
from fvcore.transforms.transform import PadTransform as _PadTransform

from cardamage.data.transforms.polygon_clip import clip_polygon

__all__ = ["CropTransform", "PadTransform"]


class CropTransform(_CropTransform):
    """Keep ``image[y0 : y0 + h, x0 : x0 + w]``.

    Args (as in fvcore): ``x0, y0, w, h`` in pixels; ``orig_w, orig_h`` make it invertible.
    """

    def apply_polygons(self, polygons: list[np.ndarray]) -> list[np.ndarray]:
        """Cut polygons to the window and move them into its frame.

        Args:
            polygons: (P, 2) arrays of x, y in pixels of the uncropped image.

        Returns:
            (Q, 2) float64 arrays. One polygon may become several, and those outside the window, or of no
            area, are gone.
        """
        x1, y1 = self.x0 + self.w, self.y0 + self.h
        pieces = [piece for polygon in polygons for piece in clip_polygon(polygon, self.x0, self.y0, x1, y1)]
        return [self.apply_coords(piece) for piece in pieces]

    def inverse(self) -> PadTransform:
        """Pad back to the size before the crop.

        Returns:
            The padding transform.

        Raises:
            ValueError: If ``orig_w`` and ``orig_h`` were not given.
        """
        if self.orig_w is None or self.orig_h is None:
            raise ValueError(
                "A CropTransform needs orig_w and orig_h to be inverted; pass them when making it."
            )
        right, bottom = self.orig_w - self.x0 - self.w, self.orig_h - self.y0 - self.h
        return PadTransform(self.x0, self.y0, right, bottom, orig_w=self.w, orig_h=self.h)


class PadTransform(_PadTransform):
    """Add ``x0, y0`` pixels left and above, ``x1, y1`` right and below (fvcore's arguments)."""

    def inverse(self) -> CropTransform:
        """Crop the padding away.

        Returns:
            The crop transform.

        Raises:
            ValueError: If ``orig_w`` and ``orig_h`` were not given.
        """
        if self.orig_w is None or self.orig_h is None:
            raise ValueError(
                "A PadTransform needs orig_w and orig_h to be inverted; pass them when making it."
            )
        width, height = self.orig_w + self.x0 + self.x1, self.orig_h + self.y0 + self.y1
        return CropTransform(self.x0, self.y0, self.orig_w, self.orig_h, orig_w=width, orig_h=height)
