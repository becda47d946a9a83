"""Augmentations that change size, orientation or extent."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
from fvcore.transforms.transform import HFlipTransform, NoOpTransform, Transform, VFlipTransform
from PIL import Image

from cardamage.data.transforms.augmentation import Augmentation, as_augmentation
from cardamage.data.transforms.transform import ExtentTransform, ResizeTransform, RotationTransform
from cardamage.errors import ConfigValueError

__all__ = [
    "RandomApply",
    "RandomExtent",
    "RandomFlip",
    "RandomResize",
    "RandomRotation",
    "Resize",
    "ResizeScale",
    "ResizeShortestEdge",
]

_BILINEAR = Image.Resampling.BILINEAR


def _check_style(owner: str, sample_style: str) -> bool:
    if sample_style not in ("range", "choice"):
        raise ConfigValueError(f"{owner}: sample_style must be 'range' or 'choice'; got {sample_style!r}.")
    return sample_style == "range"


class RandomApply(Augmentation):
    """Apply another augmentation with some probability."""

    def __init__(self, tfm_or_aug: Augmentation | Transform, prob: float = 0.5) -> None:
        """Wrap an augmentation.

        Args:
            tfm_or_aug: what to apply.
            prob: probability in [0, 1].

        Raises:
            ConfigValueError: If the probability is outside [0, 1].
        """
        self.aug = as_augmentation(tfm_or_aug)
        if not 0.0 <= prob <= 1.0:
            raise ConfigValueError(f"RandomApply: prob must be between 0 and 1; got {prob}.")
        self.prob = prob

    def get_transform(self, *args: Any) -> Transform:
        """Ask the wrapped augmentation, or do nothing.

        Args:
            args: what the wrapped augmentation needs.

        Returns:
            Its transform, or a no-op.
        """
        return self.aug.get_transform(*args) if self._rand_range() < self.prob else NoOpTransform()

    def __call__(self, aug_input: Any) -> Transform:
        """Apply the wrapped augmentation in place, or do nothing.

        Args:
            aug_input: see :meth:`Augmentation.__call__`.

        Returns:
            The transform that was applied.
        """
        return self.aug(aug_input) if self._rand_range() < self.prob else NoOpTransform()


class RandomFlip(Augmentation):
    """Flip left-right or upside down with some probability."""

    def __init__(self, prob: float = 0.5, *, horizontal: bool = True, vertical: bool = False) -> None:
        """Choose the direction.

        Args:
            prob: probability of the flip.
            horizontal: flip left-right.
            vertical: flip upside down.

        Raises:
            ConfigValueError: Unless exactly one direction is chosen.
        """
        if horizontal == vertical:
            raise ConfigValueError(
                "RandomFlip: set exactly one of horizontal and vertical; use two RandomFlip for both."
            )
        self._init(locals())

    def get_transform(self, image: np.ndarray) -> Transform:
        """Draw whether to flip.

        Args:
            image: (H, W[, C]) array.

        Returns:
            A flip or a no-op.
        """
        height, width = image.shape[:2]
        if self._rand_range() >= self.prob:
            return NoOpTransform()
        return HFlipTransform(width) if self.horizontal else VFlipTransform(height)


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
        self.is_range = _check_style("ResizeShortestEdge", sample_style)
        if isinstance(short_edge_length, int):
            short_edge_length = (short_edge_length, short_edge_length)
        if self.is_range and len(short_edge_length) != 2:
            raise ConfigValueError(
                "ResizeShortestEdge: a 'range' needs two lengths, the least and the greatest; "
                f"got {short_edge_length}. Use sample_style 'choice' for a list."
            )
        self._init(locals())

    def get_transform(self, image: np.ndarray) -> Transform:
        """Draw a length.

        Args:
            image: (H, W[, C]) array.

        Returns:
            The resize transform, or a no-op for length 0.
        """
        h, w = image.shape[:2]
        if self.is_range:
            size = np.random.randint(self.short_edge_length[0], self.short_edge_length[1] + 1)
        else:
            size = np.random.choice(self.short_edge_length)
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


class RandomRotation(Augmentation):
    """Rotate counter-clockwise by a random angle."""

    def __init__(
        self,
        angle: float | Sequence[float],
        expand: bool = True,
        center: Sequence[Any] | None = None,
        sample_style: str = "range",
        interp: int | None = None,
    ) -> None:
        """Set the angles.

        Args:
            angle: degrees; one, or [min, max] with "range", or those to choose from with "choice".
            expand: grow the output so that the whole picture fits.
            center: relative x, y of the fixed point, (0, 0) top left to (1, 1) bottom right: one, or the
                [least, greatest] corner with "range", or those to choose from with "choice"; None for the
                middle.
            sample_style: "range" or "choice".
            interp: an OpenCV interpolation flag.

        Raises:
            ConfigValueError: If the style is neither.
        """
        self.is_range = _check_style("RandomRotation", sample_style)
        angle = (angle, angle) if isinstance(angle, (float, int)) else angle
        if center is not None and isinstance(center[0], (float, int)):
            center = (center, center)
        self._init(locals())

    def get_transform(self, image: np.ndarray) -> Transform:
        """Draw an angle and a center.

        Args:
            image: (H, W[, C]) array.

        Returns:
            The rotation, or a no-op for whole turns.
        """
        h, w = image.shape[:2]
        angle, center = self._draw()
        if angle % 360 == 0:
            return NoOpTransform()
        absolute = None if center is None else (w * center[0], h * center[1])
        return RotationTransform(h, w, angle, expand=self.expand, center=absolute, interp=self.interp)

    def _draw(self) -> tuple[float, tuple[float, float] | None]:
        if not self.is_range:
            angle = float(np.random.choice(self.angle))
            return angle, None if self.center is None else self.center[np.random.randint(len(self.center))]
        angle = np.random.uniform(self.angle[0], self.angle[1])
        if self.center is None:
            return angle, None
        (low_x, low_y), (high_x, high_y) = self.center
        return angle, (np.random.uniform(low_x, high_x), np.random.uniform(low_y, high_y))


class RandomExtent(Augmentation):
    """Cut a random rectangle, which may reach outside the image (black there); the output has its size."""

    def __init__(self, scale_range: tuple[float, float], shift_range: tuple[float, float]) -> None:
        """Set the ranges.

        Args:
            scale_range: least and greatest size of the rectangle relative to the image.
            shift_range: x, y: the rectangle's center moves by up to half of this share of the image's size.
        """
        self._init(locals())

    def get_transform(self, image: np.ndarray) -> Transform:
        """Draw the rectangle.

        Args:
            image: (H, W[, C]) array.

        Returns:
            The extent transform.
        """
        h, w = image.shape[:2]
        rect = np.array([-0.5 * w, -0.5 * h, 0.5 * w, 0.5 * h])
        rect *= np.random.uniform(self.scale_range[0], self.scale_range[1])
        rect[0::2] += self.shift_range[0] * w * (np.random.rand() - 0.5)
        rect[1::2] += self.shift_range[1] * h * (np.random.rand() - 0.5)
        rect[0::2] += 0.5 * w
        rect[1::2] += 0.5 * h
        x0, y0, x1, y1 = rect
        return ExtentTransform((x0, y0, x1, y1), (max(1, int(y1 - y0)), max(1, int(x1 - x0))))
