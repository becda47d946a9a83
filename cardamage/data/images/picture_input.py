"""What augmentations are applied to when the picture is still a file: it is decoded as late as possible.

An augmentation that decides by the picture's size alone is shown a stand-in of that size. So when the first
resize is known, nothing has been decoded yet, and a JPEG is decoded no larger than that resize needs. Whoever
looks at the pixels, such as an augmentation written by a user, gets them: what came before is then applied.
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
import torch
from fvcore.transforms.transform import (
    HFlipTransform,
    NoOpTransform,
    Transform,
    TransformList,
    VFlipTransform,
)
from PIL import Image

from cardamage.data.images.decoding import EncodedImage
from cardamage.data.transforms.augmentation import AugInput
from cardamage.data.transforms.native_resize import resize_image
from cardamage.data.transforms.resize import ResizeTransform

__all__ = ["PictureInput", "image_to_tensor"]

# OpenCV's codes of the flips.
_FLIPS: dict[type[Transform], int] = {HFlipTransform: 1, VFlipTransform: 0}
# What may wait, with its own way of changing images: others can be registered in its place.
_WAITING: dict[type[Transform], Callable[..., np.ndarray]] = {
    ResizeTransform: ResizeTransform.apply_image,
    HFlipTransform: HFlipTransform.apply_image,
    VFlipTransform: VFlipTransform.apply_image,
}


class PictureInput(AugInput):
    """An :class:`AugInput` whose image is decoded, resized and flipped when somebody looks at it.

    Resizes and flips wait; any other transform is applied at once.
    """

    def __init__(
        self,
        picture: EncodedImage | np.ndarray,
        *,
        scaled_decode: bool = True,
        native_resize: bool = True,
        boxes: np.ndarray | None = None,
        sem_seg: np.ndarray | None = None,
    ) -> None:
        """Take a picture.

        Args:
            picture: a picture file; or an (H, W, C) uint8 or floating array.
            scaled_decode: let a JPEG be decoded at a fraction of its size.
            native_resize: see :func:`resize_image`.
            boxes: see :class:`AugInput`.
            sem_seg: see :class:`AugInput`.
        """
        self._native = native_resize
        self._scaled = scaled_decode
        self._waiting: list[Transform] = []
        self._file: EncodedImage | None = None
        self._pixels: np.ndarray | None = None
        self._shape: tuple[int, ...] = ()
        if isinstance(picture, EncodedImage) and picture.size:
            self._file = picture
            self._shape = (*picture.size, 1 if picture.format == "L" else 3)
            self.boxes, self.sem_seg = boxes, sem_seg
        else:
            pixels = picture.decode() if isinstance(picture, EncodedImage) else picture
            super().__init__(pixels, boxes=boxes, sem_seg=sem_seg)

    @property
    def image(self) -> np.ndarray:
        """The picture, with all transforms so far."""
        pixels = self._decoded()
        for tfm in self._waiting:
            pixels = self._apply(tfm, pixels)
        self.image = pixels
        return pixels

    @image.setter
    def image(self, value: np.ndarray) -> None:
        self._pixels, self._shape = value, value.shape
        self._file, self._waiting = None, []

    @property
    def canvas(self) -> np.ndarray:
        """An array of the picture's shape at this point, without its pixels where those aren't known yet."""
        if self._file is None and not self._waiting:
            return self.image
        return np.broadcast_to(np.uint8(0), self._shape)

    def transform(self, tfm: Transform) -> None:
        """Transform every attribute; the image when somebody looks at it.

        Args:
            tfm: the transform.
        """
        for step in tfm.transforms if isinstance(tfm, TransformList) else (tfm,):
            self._transform_image(step)
        if self.boxes is not None:
            self.boxes = tfm.apply_box(self.boxes)
        if self.sem_seg is not None:
            self.sem_seg = tfm.apply_segmentation(self.sem_seg)

    def _transform_image(self, tfm: Transform) -> None:
        if type(tfm) is NoOpTransform:
            return
        fits = not isinstance(tfm, ResizeTransform) or (tfm.h, tfm.w) == self._shape[:2]
        if not fits or _WAITING.get(type(tfm)) is not type(tfm).apply_image:
            self.image = tfm.apply_image(self.image)
            return
        self._waiting.append(tfm)
        if isinstance(tfm, ResizeTransform):
            self._shape = (tfm.new_h, tfm.new_w, *self._shape[2:])

    def _decoded(self) -> np.ndarray:
        """The picture before the transforms that wait, large enough for the first resize among them."""
        if self._file is None:
            assert self._pixels is not None  # what init promises
            return self._pixels
        resize = next((tfm for tfm in self._waiting if isinstance(tfm, ResizeTransform)), None)
        # Picking single pixels out of averaged ones would be another picture.
        if resize is None or not self._scaled or resize.interp == Image.Resampling.NEAREST:
            return self._file.decode()
        return self._file.decode((resize.new_h, resize.new_w))

    def _apply(self, tfm: Transform, pixels: np.ndarray) -> np.ndarray:
        if isinstance(tfm, ResizeTransform):
            return resize_image(pixels, tfm, self._native)
        if pixels.ndim == 3 and pixels.shape[2] == 3:
            return cv2.flip(np.ascontiguousarray(pixels), _FLIPS[type(tfm)])
        return tfm.apply_image(pixels)


def image_to_tensor(image: np.ndarray) -> torch.Tensor:
    """Lay an image out as models take it.

    Args:
        image: (H, W, C) array.

    Returns:
        A contiguous (C, H, W) tensor of the same dtype; it shares no memory with the array.
    """
    if image.shape[2] == 3 and image.dtype == np.uint8 and image.size:
        planes = np.empty((3, *image.shape[:2]), dtype=np.uint8)
        cv2.split(image, list(planes))
        return torch.from_numpy(planes)
    return torch.from_numpy(np.array(image.transpose(2, 0, 1), order="C"))
