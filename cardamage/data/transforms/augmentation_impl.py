"""The augmentations, under the path where Detectron2 has them."""

from __future__ import annotations

from cardamage.data.transforms.augment_color import (
    RandomBrightness,
    RandomContrast,
    RandomLighting,
    RandomSaturation,
)
from cardamage.data.transforms.augment_crop import (
    FixedSizeCrop,
    MinIoURandomCrop,
    RandomCrop,
    RandomCrop_CategoryAreaConstraint,
)
from cardamage.data.transforms.augment_geometry import RandomApply, RandomExtent, RandomFlip, RandomRotation
from cardamage.data.transforms.augment_resize import RandomResize, Resize, ResizeScale, ResizeShortestEdge

__all__ = [
    "FixedSizeCrop",
    "MinIoURandomCrop",
    "RandomApply",
    "RandomBrightness",
    "RandomContrast",
    "RandomCrop",
    "RandomCrop_CategoryAreaConstraint",
    "RandomExtent",
    "RandomFlip",
    "RandomLighting",
    "RandomResize",
    "RandomRotation",
    "RandomSaturation",
    "Resize",
    "ResizeScale",
    "ResizeShortestEdge",
]
