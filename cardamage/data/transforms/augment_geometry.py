"""Augmentations that flip, rotate or cut an extent, and the one that applies another by chance."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from fvcore.transforms.transform import HFlipTransform, NoOpTransform, Transform, VFlipTransform

from cardamage.data.transforms.augment_resize import is_range
from cardamage.data.transforms.augmentation import Augmentation, as_augmentation, decides_by_size
from cardamage.data.transforms.resize import ExtentTransform
from cardamage.data.transforms.rotate import RotationTransform
from cardamage.errors import ConfigValueError

__all__ = ["RandomApply", "RandomExtent", "RandomFlip", "RandomRotation"]


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
        if not 0.0 <= prob <= 1.0:
            raise ConfigValueError(f"RandomApply: prob must be between 0 and 1; got {prob}.")
        self.aug = as_augmentation(tfm_or_aug)
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

    @decides_by_size
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
        self.is_range = is_range("RandomRotation", sample_style)
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
