"""Augmentations that resize."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import numpy as np
from fvcore.transforms.transform import NoOpTransform, Transform
from PIL import Image

from cardamage.data.loading.seeding import batch_draws
from cardamage.data.transforms.augmentation import Augmentation, decides_by_size
from cardamage.data.transforms.resize import ResizeTransform
from cardamage.errors import ConfigValueError

__all__ = ["RandomResize", "Resize", "ResizeScale", "ResizeShortestEdge", "is_range"]

_BILINEAR = Image.Resampling.BILINEAR


def is_range(owner: str, sample_style: str) -> bool:
    """Tell whether numbers are drawn from a range, not chosen from a list.

    Args:
        owner: the augmentation, for the message.
        sample_style: "range" or "choice".

    Returns:
        True for "range".

    Raises:
        ConfigValueError: If the style is neither.
    """
    if sample_style not in ("range", "choice"):
        raise ConfigValueError(f"{owner}: sample_style must be 'range' or 'choice'; got {sample_style!r}.")
    return sample_style == "range"


class Resize(Augmentation):
    """Resize to one size, whatever the aspect ratio."""

    def __init__(self, shape: int | Sequence[int], interp: int = _BILINEAR) -> None:
        """Set the size.

        Args:
            shape: height and width, or one number for both.
            interp: a Pillow resampling filter.
        """
        shape = (shape, shape) if isinstance(shape, int) else tuple(shape)
        self._init(locals())

    @decides_by_size
    def get_transform(self, image: np.ndarray) -> Transform:
        """Make the resize.

        Args:
            image: (H, W[, C]) array.

        Returns:
            The resize transform.
        """
        return ResizeTransform(image.shape[0], image.shape[1], self.shape[0], self.shape[1], self.interp)


class RandomResize(Augmentation):
    """Resize to one of several sizes."""

    def __init__(self, shape_list: Sequence[tuple[int, int]], interp: int = _BILINEAR) -> None:
        """Set the sizes.

        Args:
            shape_list: (height, width) pairs.
            interp: a Pillow resampling filter.
        """
        self._init(locals())

    @decides_by_size
    def get_transform(self, image: np.ndarray) -> Transform:
        """Draw a size.

        Args:
            image: (H, W[, C]) array.

        Returns:
            The resize transform.
        """
        h, w = self.shape_list[np.random.randint(low=0, high=len(self.shape_list))]
        return ResizeTransform(image.shape[0], image.shape[1], h, w, self.interp)


class ResizeShortestEdge(Augmentation):
    """Bring the shorter edge to a length unless the longer passes a limit; keeps the aspect ratio."""

    def __init__(
        self,
        short_edge_length: int | Sequence[int],
        max_size: int = sys.maxsize,
        sample_style: str = "range",
        interp: int = _BILINEAR,
    ) -> None:
        """Set the lengths.

        Args:
            short_edge_length: one length; or [min, max] to draw from uniformly with "range"; or the lengths
                to choose from with "choice". A drawn 0 leaves the image as it is.
            max_size: the longer edge's limit in pixels.
            sample_style: "range" or "choice".
            interp: a Pillow resampling filter.

        Raises:
            ConfigValueError: If the style is neither, or a range isn't of two numbers.
        """
        self.is_range = is_range("ResizeShortestEdge", sample_style)
        if isinstance(short_edge_length, int):
            short_edge_length = (short_edge_length, short_edge_length)
        if self.is_range and len(short_edge_length) != 2:
            raise ConfigValueError(
                "ResizeShortestEdge: a 'range' needs two lengths, the least and the greatest; "
                f"got {short_edge_length}. Use sample_style 'choice' for a list."
            )
        self._init(locals())

    @decides_by_size
    def get_transform(self, image: np.ndarray) -> Transform:
        """Draw a length.

        Args:
            image: (H, W[, C]) array.

        Returns:
            The resize transform, or a no-op for length 0.
        """
        h, w = image.shape[:2]
        draws = batch_draws()
        if self.is_range:
            size = draws.randint(self.short_edge_length[0], self.short_edge_length[1] + 1)
        else:
            size = draws.choice(self.short_edge_length)
        if size == 0:
            return NoOpTransform()
        new_h, new_w = self.get_output_shape(h, w, int(size), self.max_size)
        return ResizeTransform(h, w, new_h, new_w, self.interp)

    @staticmethod
    def get_output_shape(oldh: int, oldw: int, short_edge_length: int, max_size: int) -> tuple[int, int]:
        """Compute the output size.

        Args:
            oldh: height of the input in pixels.
            oldw: width of the input.
            short_edge_length: wanted length of the shorter edge.
            max_size: limit of the longer edge.

        Returns:
            Height and width, rounded half up, at least 1.
        """
        # The order of these operations decides how a half rounds; it is the one trained models were fed with.
        scale = short_edge_length * 1.0 / min(oldh, oldw)
        height = short_edge_length * 1.0 if oldh < oldw else scale * oldh
        width = scale * oldw if oldh < oldw else short_edge_length * 1.0
        longer = max(height, width)
        if longer > max_size:
            shrink = max_size * 1.0 / longer
            height, width = height * shrink, width * shrink
        return max(1, int(height + 0.5)), max(1, int(width + 0.5))


class ResizeScale(Augmentation):
    """Fit the image into a target box scaled by a random factor; the resize half of large-scale jittering.

    See Ghiasi et al., "Simple Copy-Paste is a Strong Data Augmentation Method for Instance Segmentation",
    2021.
    """

    def __init__(
        self,
        min_scale: float,
        max_scale: float,
        target_height: int,
        target_width: int,
        interp: int = _BILINEAR,
    ) -> None:
        """Set the box and the scales.

        Args:
            min_scale: least factor.
            max_scale: greatest factor.
            target_height: height of the box at factor 1.
            target_width: width of the box at factor 1.
            interp: a Pillow resampling filter.
        """
        self._init(locals())

    @decides_by_size
    def get_transform(self, image: np.ndarray) -> Transform:
        """Draw a factor.

        Args:
            image: (H, W[, C]) array.

        Returns:
            The resize transform.
        """
        size = image.shape[:2]
        box = np.multiply(
            (self.target_height, self.target_width), np.random.uniform(self.min_scale, self.max_scale)
        )
        scale = np.minimum(box[0] / size[0], box[1] / size[1])
        new_h, new_w = np.maximum(np.round(np.multiply(size, scale)).astype(int), 1)
        return ResizeTransform(size[0], size[1], int(new_h), int(new_w), self.interp)
