"""Channel orders: from Pillow images to arrays, and back to RGB for drawing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

if TYPE_CHECKING:
    import torch

__all__ = ["convert_PIL_to_numpy", "convert_image_to_rgb"]

# ITU-R BT.601: luma weights, and the scaled color differences U and V.
_RGB_TO_YUV = np.array([[0.299, 0.587, 0.114], [-0.14713, -0.28886, 0.436], [0.615, -0.51499, -0.10001]])
_YUV_TO_RGB = np.array([[1.0, 0.0, 1.13983], [1.0, -0.39465, -0.58060], [1.0, 2.03211, 0.0]])
_YUV = "YUV-BT.601"


def convert_PIL_to_numpy(image: Image.Image, format: str | None) -> np.ndarray:  # noqa: N802 (public name)
    """Turn a Pillow image into an array.

    Args:
        image: any mode.
        format: a Pillow mode, "BGR", "YUV-BT.601", or None to keep the image's own.

    Returns:
        (H, W, C) uint8 in [0, 255], (H, W, 1) for "L" and (H, W) for other modes of one channel; floating
        for YUV, its Y in [0, 1].
    """
    if format is None:
        return np.asarray(image)
    array = np.asarray(image.convert("RGB" if format in ("BGR", _YUV) else format))
    if format == "BGR":
        return array[:, :, ::-1]
    if format == _YUV:
        return np.dot(array / 255.0, _RGB_TO_YUV.T)
    return array[:, :, None] if format == "L" else array


def convert_image_to_rgb(image: np.ndarray | torch.Tensor, format: str) -> np.ndarray:
    """Turn an image of the model's format into RGB.

    Args:
        image: (H, W, C), as :func:`convert_PIL_to_numpy` gives it.
        format: its format.

    Returns:
        (H, W, 3) RGB in [0, 255], uint8 or floating.
    """
    array = image if isinstance(image, np.ndarray) else image.detach().cpu().numpy()
    if format == "BGR":
        return array[:, :, [2, 1, 0]]
    if format == _YUV:
        return np.dot(array, _YUV_TO_RGB.T) * 255.0
    if format == "L":
        return np.repeat(array[:, :, :1].astype(np.uint8), 3, axis=2)
    if format == "RGB":
        return array.astype(np.uint8)
    size = array.shape[1], array.shape[0]
    return np.asarray(Image.frombytes(format, size, array.astype(np.uint8).tobytes()).convert("RGB"))
