"""Resizing pictures in torch's vectorized code: Pillow's filter and, but for single roundings, its pixels."""

from __future__ import annotations

import numpy as np
import torch
from PIL import Image

from cardamage.data.transforms.resize import ResizeTransform

__all__ = ["resize_image"]

_MODES = {Image.Resampling.BILINEAR: "bilinear", Image.Resampling.BICUBIC: "bicubic"}


def resize_image(image: np.ndarray, tfm: ResizeTransform, native: bool = True) -> np.ndarray:
    """Bring an image to the size that a resize transform leads to.

    Args:
        image: (H, W) or (H, W, C) array. Its size may be another than the one the transform is for: that of
            the same picture decoded at a fraction.
        tfm: says the size and the filter.
        native: let torch resize uint8 pictures of three channels where it has the filter; anything else, and
            everything where this is False, is resized as the transform does it.

    Returns:
        The array of (new_h, new_w, ...) and the same dtype.
    """
    filter_ = Image.Resampling(tfm.interp)
    if native and filter_ in _MODES and image.dtype == np.uint8 and image.ndim == 3 and image.shape[2] == 3:
        return _by_torch(image, (tfm.new_h, tfm.new_w), _MODES[filter_])
    height, width = image.shape[:2]
    return ResizeTransform(height, width, tfm.new_h, tfm.new_w, filter_).apply_image(image)


def _by_torch(image: np.ndarray, size: tuple[int, int], mode: str) -> np.ndarray:
    if image.shape[:2] == size:
        return image
    if not (image.flags.writeable and image.flags.c_contiguous):
        image = np.array(image, order="C")
    # A view in the memory format that torch has its fastest code for, and gives back: channels last. Torch
    # tells it by the strides, so the batch's must be there before the channels are moved.
    planes = torch.from_numpy(image)[None].permute(0, 3, 1, 2)
    resized = torch.nn.functional.interpolate(planes, size, mode=mode, antialias=True)
    return resized[0].permute(1, 2, 0).numpy()
