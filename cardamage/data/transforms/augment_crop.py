"""Augmentations that crop."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from fvcore.transforms.transform import NoOpTransform, Transform, TransformList

from cardamage.data.transforms.augmentation import Augmentation
from cardamage.data.transforms.crop import CropTransform, PadTransform
from cardamage.errors import ConfigValueError

__all__ = ["FixedSizeCrop", "MinIoURandomCrop", "RandomCrop", "RandomCrop_CategoryAreaConstraint"]

_CROP_TYPES = ("relative_range", "relative", "absolute", "absolute_range")


class RandomCrop(Augmentation):
    """Crop a random rectangle out of the image."""

    def __init__(self, crop_type: str, crop_size: Sequence[float]) -> None:
        """Set the kind and size.

        Args:
            crop_type: what ``crop_size`` means. "relative": shares of height and width, in (0, 1];
                "relative_range": the least shares, each drawn up to 1; "absolute": height and width in
                pixels, cut to the image's; "absolute_range": least and greatest length in pixels, drawn for
                height and width each.
            crop_size: two numbers; they are checked when a crop is first drawn, or by :meth:`check_size`.

        Raises:
            ConfigValueError: If the kind is unknown.
        """
        if crop_type not in _CROP_TYPES:
            raise ConfigValueError(
                f"RandomCrop: crop_type must be one of {', '.join(_CROP_TYPES)}; got {crop_type!r}."
            )
        self._init(locals())

    def get_transform(self, image: np.ndarray) -> Transform:
        """Draw the rectangle.

        Args:
            image: (H, W[, C]) array.

        Returns:
            The crop.
        """
        h, w = image.shape[:2]
        crop_h, crop_w = self.get_crop_size((h, w))
        y0 = np.random.randint(h - crop_h + 1)
        x0 = np.random.randint(w - crop_w + 1)
        return CropTransform(x0, y0, crop_w, crop_h)

    def check_size(self) -> None:
        """Refuse a size that doesn't fit the kind of crop.

        Raises:
            ConfigValueError: If it doesn't.
        """
        size, relative = tuple(self.crop_size), self.crop_type.startswith("relative")
        if len(size) != 2 or min(size) <= 0 or (relative and max(size) > 1):
            raise ConfigValueError(
                f"RandomCrop: crop_size {size} doesn't fit crop_type {self.crop_type!r}: give two numbers "
                "above 0, and at most 1 for the relative kinds."
            )
        if self.crop_type == "absolute_range" and size[0] > size[1]:
            raise ConfigValueError(f"RandomCrop: the range {size} must name its least length first.")

    def get_crop_size(self, image_size: tuple[int, int]) -> tuple[int, int]:
        """Draw the size.

        Args:
            image_size: height and width in pixels.

        Returns:
            Height and width of the crop in pixels, at least 1.

        Raises:
            ConfigValueError: If the size doesn't fit the kind.
        """
        self.check_size()
        h, w = image_size
        if self.crop_type == "absolute":
            return min(self.crop_size[0], h), min(self.crop_size[1], w)
        if self.crop_type == "absolute_range":
            low, high = self.crop_size
            crop_h = np.random.randint(min(h, low), min(h, high) + 1)
            return crop_h, np.random.randint(min(w, low), min(w, high) + 1)
        share_h, share_w = self.crop_size
        if self.crop_type == "relative_range":
            least = np.asarray(self.crop_size, dtype=np.float32)
            share_h, share_w = least + np.random.rand(2) * (1 - least)
        return max(1, int(h * share_h + 0.5)), max(1, int(w * share_w + 0.5))


class FixedSizeCrop(Augmentation):
    """Crop to a size at random where the image is larger, pad right and below where it is smaller."""

    def __init__(
        self, crop_size: tuple[int, int], pad: bool = True, pad_value: float = 128.0, seg_pad_value: int = 255
    ) -> None:
        """Set the size.

        Args:
            crop_size: height and width in pixels.
            pad: pad smaller images.
            pad_value: value of added pixels.
            seg_pad_value: label of added pixels in label maps.
        """
        self._init(locals())

    def get_transform(self, image: np.ndarray) -> TransformList:
        """Draw the crop.

        Args:
            image: (H, W[, C]) array.

        Returns:
            The crop, then the padding if it is on.
        """
        size, target = np.asarray(image.shape[:2]), np.asarray(self.crop_size)
        # One draw for both axes, as the large-scale jittering recipe does it.
        room = np.maximum(size - target, 0)
        y0, x0 = (int(v) for v in np.round(room * np.random.uniform(0.0, 1.0)))
        h, w = (int(v) for v in target)
        full_h, full_w = (int(v) for v in size)
        steps: list[Transform] = [CropTransform(x0, y0, w, h, full_w, full_h)]
        if self.pad:
            below, right = (int(v) for v in np.maximum(target - size, 0))
            kept_h, kept_w = (int(v) for v in np.minimum(size, target))
            steps.append(PadTransform(0, 0, right, below, kept_w, kept_h, self.pad_value, self.seg_pad_value))
        return TransformList(steps)


class RandomCrop_CategoryAreaConstraint(Augmentation):  # noqa: N801 (the public name)
    """A :class:`RandomCrop` redrawn, at most ten times, until no category fills too much of the label map."""

    def __init__(
        self,
        crop_type: str,
        crop_size: Sequence[float],
        single_category_max_area: float = 1.0,
        ignored_category: int | None = None,
    ) -> None:
        """Set the crop and the limit.

        Args:
            crop_type: see :class:`RandomCrop`.
            crop_size: see :class:`RandomCrop`.
            single_category_max_area: greatest share of one category in the crop; 1 for no limit.
            ignored_category: a label that doesn't count.
        """
        self.crop_aug = RandomCrop(crop_type, crop_size)
        self._init(locals())

    def get_transform(self, image: np.ndarray, sem_seg: np.ndarray) -> Transform:
        """Draw the crop.

        Args:
            image: (H, W[, C]) array.
            sem_seg: (H, W) integer labels.

        Returns:
            The crop.
        """
        if self.single_category_max_area >= 1.0:
            return self.crop_aug.get_transform(image)
        h, w = sem_seg.shape
        for _ in range(10):
            crop_h, crop_w = self.crop_aug.get_crop_size((h, w))
            y0 = np.random.randint(h - crop_h + 1)
            x0 = np.random.randint(w - crop_w + 1)
            labels, counts = np.unique(sem_seg[y0 : y0 + crop_h, x0 : x0 + crop_w], return_counts=True)
            if self.ignored_category is not None:
                counts = counts[labels != self.ignored_category]
            if len(counts) > 1 and counts.max() < counts.sum() * self.single_category_max_area:
                break
        return CropTransform(x0, y0, crop_w, crop_h)


class MinIoURandomCrop(Augmentation):
    """A crop that overlaps every box by at least a randomly chosen IoU (SSD's sampling, Liu et al. 2016)."""

    def __init__(
        self,
        min_ious: Sequence[float] = (0.1, 0.3, 0.5, 0.7, 0.9),
        min_crop_size: float = 0.3,
        mode_trials: int = 1000,
        crop_trials: int = 50,
    ) -> None:
        """Set the limits.

        Args:
            min_ious: the IoU limits to choose from, beside "no crop" and "any crop".
            min_crop_size: least share of the image's height and width.
            mode_trials: how often a limit is chosen before giving up.
            crop_trials: how many crops are tried for one limit.
        """
        self._init(locals())
        self.sample_mode = (1, *min_ious, 0)

    def get_transform(self, image: np.ndarray, boxes: np.ndarray | None) -> Transform:
        """Draw the crop.

        Args:
            image: (H, W[, C]) array.
            boxes: (N, 4) XYXY in pixels, or None.

        Returns:
            The crop, or a no-op.
        """
        if boxes is None:
            return NoOpTransform()
        h, w = image.shape[:2]
        for _ in range(self.mode_trials):
            limit = np.random.choice(self.sample_mode)
            if limit == 1:
                return NoOpTransform()
            for _ in range(self.crop_trials):
                crop = self._try_crop(h, w, boxes.reshape(-1, 4), limit)
                if crop is not None:
                    return crop
        return NoOpTransform()

    def _try_crop(self, h: int, w: int, boxes: np.ndarray, limit: float) -> CropTransform | None:
        new_w = np.random.uniform(self.min_crop_size * w, w)
        new_h = np.random.uniform(self.min_crop_size * h, h)
        if not 0.5 <= new_h / new_w <= 2:
            return None
        left, top = np.random.uniform(w - new_w), np.random.uniform(h - new_h)
        patch = np.array((int(left), int(top), int(left + new_w), int(top + new_h)))
        if patch[2] == patch[0] or patch[3] == patch[1]:
            return None
        if len(boxes):
            centers = (boxes[:, :2] + boxes[:, 2:]) / 2
            held = ((centers > patch[:2]) & (centers < patch[2:])).all(axis=1)
            if _iou(patch, boxes).min() < limit or not held.any():
                return None
        return CropTransform(int(left), int(top), int(new_w), int(new_h))


def _iou(patch: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    overlap = np.clip(
        np.minimum(patch[2:], boxes[:, 2:]) - np.maximum(patch[:2], boxes[:, :2]), 0, None
    ).prod(1)
    union = (patch[2:] - patch[:2]).prod() + (boxes[:, 2:] - boxes[:, :2]).prod(1) - overlap
    return np.where(overlap > 0, overlap / np.maximum(union, 1e-12), 0.0)
