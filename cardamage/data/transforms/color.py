"""Changes of pixel values that leave geometry alone."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from fvcore.transforms.transform import NoOpTransform, Transform
from PIL import Image

__all__ = ["ColorTransform", "PILColorTransform"]


class ColorTransform(Transform):
    """Any change of pixel values that leaves geometry alone."""

    def __init__(self, op: Callable[[np.ndarray], np.ndarray]) -> None:
        """Wrap a function.

        Args:
            op: takes the image array and returns the new one.

        Raises:
            ValueError: If ``op`` can't be called.
        """
        if not callable(op):
            raise ValueError(f"ColorTransform needs a function of an image; got {op!r}.")
        super().__init__()
        self._set_attributes(locals())

    def apply_image(self, img: np.ndarray) -> np.ndarray:
        """Apply the function.

        Args:
            img: the image array.

        Returns:
            What the function returns.
        """
        return self.op(img)

    def apply_coords(self, coords: np.ndarray) -> np.ndarray:
        """Return the points unchanged.

        Args:
            coords: (N, 2) array.

        Returns:
            The same array.
        """
        return coords

    def apply_segmentation(self, segmentation: np.ndarray) -> np.ndarray:
        """Return the mask unchanged.

        Args:
            segmentation: (H, W) array.

        Returns:
            The same array.
        """
        return segmentation

    def inverse(self) -> NoOpTransform:
        """Return a no-op: there is no geometry to undo.

        Returns:
            The transform.
        """
        return NoOpTransform()


class PILColorTransform(ColorTransform):
    """A :class:`ColorTransform` whose function takes and returns a Pillow image."""

    def apply_image(self, img: np.ndarray) -> np.ndarray:
        """Apply the function.

        Args:
            img: (H, W) or (H, W, C) uint8 array.

        Returns:
            uint8 array of what the function returns.
        """
        return np.asarray(self.op(Image.fromarray(img)))
