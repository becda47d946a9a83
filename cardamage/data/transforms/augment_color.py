"""Augmentations that change colors. All blend the image with something by a random weight."""

from __future__ import annotations

import numpy as np
from fvcore.transforms.transform import BlendTransform

from cardamage.data.transforms.augmentation import Augmentation

__all__ = ["RandomBrightness", "RandomContrast", "RandomLighting", "RandomSaturation"]

_LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601, R G B
# Principal components of ImageNet's RGB values, from Krizhevsky et al. 2012 as published with cuda-convnet.
_EIGEN_VECTORS = ((-0.5675, 0.7192, 0.4009), (-0.5808, -0.0045, -0.8140), (-0.5836, -0.6948, 0.4203))
_EIGEN_VALUES = (0.2175, 0.0188, 0.0045)


class _RandomBlend(Augmentation):
    """Base: weight 1 keeps the image, below 1 blends towards the other, above 1 away from it."""

    def __init__(self, intensity_min: float, intensity_max: float) -> None:
        """Set the range.

        Args:
            intensity_min: least weight of the image.
            intensity_max: greatest weight.
        """
        self._init(locals())

    def _blend(self, other: np.ndarray | float) -> BlendTransform:
        weight = np.random.uniform(self.intensity_min, self.intensity_max)
        return BlendTransform(src_image=other, src_weight=1 - weight, dst_weight=weight)


class RandomContrast(_RandomBlend):
    """Blend with the image's mean value."""

    def get_transform(self, image: np.ndarray) -> BlendTransform:
        """Draw the weight.

        Args:
            image: (H, W[, C]) array.

        Returns:
            The blend.
        """
        return self._blend(image.mean())


class RandomBrightness(_RandomBlend):
    """Blend with black."""

    def get_transform(self, image: np.ndarray) -> BlendTransform:
        """Draw the weight.

        Args:
            image: (H, W[, C]) array.

        Returns:
            The blend.
        """
        return self._blend(0)


class RandomSaturation(_RandomBlend):
    """Blend with the image's gray version. The channels are taken to be R, G, B."""

    def get_transform(self, image: np.ndarray) -> BlendTransform:
        """Draw the weight.

        Args:
            image: (H, W, 3) array.

        Returns:
            The blend.

        Raises:
            ValueError: If the image hasn't three channels.
        """
        _three_channels("RandomSaturation", image)
        return self._blend(image.dot(_LUMA)[:, :, np.newaxis])


class RandomLighting(Augmentation):
    """Add a random mix of ImageNet's principal color components (Krizhevsky et al. 2012); channels RGB."""

    def __init__(self, scale: float) -> None:
        """Set the strength.

        Args:
            scale: standard deviation of each component's weight.
        """
        self._init(locals())
        self.eigen_vecs = np.array(_EIGEN_VECTORS)
        self.eigen_vals = np.array(_EIGEN_VALUES)

    def get_transform(self, image: np.ndarray) -> BlendTransform:
        """Draw the mix.

        Args:
            image: (H, W, 3) array.

        Returns:
            The blend.

        Raises:
            ValueError: If the image hasn't three channels.
        """
        _three_channels("RandomLighting", image)
        weights = np.random.normal(scale=self.scale, size=3)
        shift = self.eigen_vecs.dot(weights * self.eigen_vals)
        return BlendTransform(src_image=shift, src_weight=1.0, dst_weight=1.0)


def _three_channels(owner: str, image: np.ndarray) -> None:
    if image.ndim != 3 or image.shape[-1] != 3:
        raise ValueError(f"{owner} needs an image of three channels; got an array of {image.shape}.")
