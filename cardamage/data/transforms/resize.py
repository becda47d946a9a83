"""Resizing: of the whole image, or of a rectangle that may reach outside it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from fvcore.transforms.transform import Transform
from PIL import Image

__all__ = ["ExtentTransform", "ResizeTransform"]

_TORCH_MODES = {
    Image.Resampling.NEAREST: "nearest",
    Image.Resampling.BILINEAR: "bilinear",
    Image.Resampling.BICUBIC: "bicubic",
}


def _through_pillow(image: np.ndarray, operation: Callable[[Image.Image], Image.Image]) -> np.ndarray:
    """Run a Pillow operation on an (H, W) or (H, W, C) uint8 or bool array and keep its dtype and rank."""
    if image.dtype == bool:
        return _through_pillow(image.view(np.uint8), operation).astype(bool)
    if image.ndim == 2 or image.shape[2] in (2, 3, 4):
        return np.asarray(operation(Image.fromarray(image)))
    channels = [np.asarray(operation(Image.fromarray(image[..., k]))) for k in range(image.shape[2])]
    return np.stack(channels, axis=-1)


def _picked(size: int, new_size: int) -> np.ndarray:
    """The pixels Pillow picks along one side, so that label maps of any integer type resize as uint8 does."""
    line = Image.fromarray(np.arange(size, dtype=np.int32)[None])
    return np.asarray(line.resize((new_size, 1), Image.Resampling.NEAREST))[0]


class ResizeTransform(Transform):
    """Resize from (h, w) to (new_h, new_w).

    uint8 images go through Pillow, whose bilinear filter is antialiased when shrinking; floating images
    through :func:`torch.nn.functional.interpolate`, which is not. Models trained with Detectron2 saw the same
    pixels.
    """

    def __init__(self, h: int, w: int, new_h: int, new_w: int, interp: int | None = None) -> None:
        """Set the sizes.

        Args:
            h: height of the input in pixels.
            w: width of the input.
            new_h: height of the output.
            new_w: width of the output.
            interp: a Pillow resampling filter; bilinear when None.
        """
        super().__init__()
        interp = Image.Resampling.BILINEAR if interp is None else interp
        self._set_attributes(locals())

    def apply_image(self, img: np.ndarray, interp: int | None = None) -> np.ndarray:
        """Resize an image.

        Args:
            img: (h, w), (h, w, C) or (h, w, C, D) array, uint8, bool or floating.
            interp: overrides the transform's filter.

        Returns:
            The array of (new_h, new_w, ...) and the same dtype.

        Raises:
            ValueError: If the array isn't (h, w, ...).
        """
        if img.shape[:2] != (self.h, self.w):
            raise ValueError(
                f"This resize is for images of height {self.h} and width {self.w}; got an array "
                f"of {img.shape}."
            )
        filter_ = self.interp if interp is None else interp
        if img.dtype in (np.uint8, bool):
            size = (self.new_w, self.new_h)
            return _through_pillow(img, lambda picture: picture.resize(size, filter_))
        if filter_ == Image.Resampling.NEAREST:
            return self._nearest(img)
        return self._interpolate(img, _TORCH_MODES[Image.Resampling(filter_)])

    def _nearest(self, img: np.ndarray) -> np.ndarray:
        if np.issubdtype(img.dtype, np.floating):
            return self._interpolate(img, "nearest")
        rows, columns = _picked(self.h, self.new_h), _picked(self.w, self.new_w)
        return img[rows[:, None], columns[None]]

    def _interpolate(self, img: np.ndarray, mode: str) -> np.ndarray:
        planes = (
            torch.from_numpy(np.ascontiguousarray(img)).reshape(self.h, self.w, -1).permute(2, 0, 1)[None]
        )
        align = None if mode == "nearest" else False
        resized = torch.nn.functional.interpolate(
            planes, (self.new_h, self.new_w), mode=mode, align_corners=align
        )
        return resized[0].permute(1, 2, 0).reshape(self.new_h, self.new_w, *img.shape[2:]).numpy()

    def apply_coords(self, coords: np.ndarray) -> np.ndarray:
        """Scale points.

        Args:
            coords: (N, 2) floating x, y in pixels; changed in place.

        Returns:
            The same array.
        """
        coords[:, 0] = coords[:, 0] * (self.new_w * 1.0 / self.w)
        coords[:, 1] = coords[:, 1] * (self.new_h * 1.0 / self.h)
        return coords

    def apply_segmentation(self, segmentation: np.ndarray) -> np.ndarray:
        """Resize a label map or mask to the nearest pixel.

        Args:
            segmentation: (h, w) integer or bool array.

        Returns:
            (new_h, new_w) array of the same dtype.
        """
        return self.apply_image(segmentation, interp=Image.Resampling.NEAREST)

    def inverse(self) -> ResizeTransform:
        """Resize back.

        Returns:
            The transform from (new_h, new_w) to (h, w).
        """
        return ResizeTransform(self.new_h, self.new_w, self.h, self.w, self.interp)


class ExtentTransform(Transform):
    """Cut a rectangle, which may reach outside the image, and scale it to a size.

    Pixels from outside the image get the ``fill`` value.
    """

    def __init__(
        self,
        src_rect: tuple[float, float, float, float],
        output_size: tuple[int, int],
        interp: int = Image.Resampling.BILINEAR,
        fill: int = 0,
    ) -> None:
        """Set the rectangle and the output size.

        Args:
            src_rect: x0, y0, x1, y1 in pixels of the input.
            output_size: height and width of the output.
            interp: a Pillow resampling filter.
            fill: value for pixels outside the input.
        """
        super().__init__()
        self._set_attributes(locals())

    def apply_image(self, img: np.ndarray, interp: int | None = None) -> np.ndarray:
        """Extract the rectangle.

        Args:
            img: (H, W) or (H, W, C) uint8 or bool array.
            interp: overrides the transform's filter.

        Returns:
            Array of ``output_size`` and the same dtype.
        """
        h, w = self.output_size
        filter_ = self.interp if interp is None else interp
        return _through_pillow(
            img,
            lambda picture: picture.transform(
                (w, h), Image.Transform.EXTENT, self.src_rect, resample=filter_, fill=self.fill
            ),
        )

    def apply_coords(self, coords: np.ndarray) -> np.ndarray:
        """Move points into the output's frame.

        Args:
            coords: (N, 2) x, y in pixels of the input.

        Returns:
            New (N, 2) float32 array.
        """
        h, w = self.output_size
        x0, y0, x1, y1 = self.src_rect
        moved = coords.astype(np.float32)
        # In place and one operation at a time, so that float32 rounds as it does in Detectron2.
        for column, (low, high, length) in enumerate(((x0, x1, w), (y0, y1, h))):
            moved[:, column] -= 0.5 * (low + high)
            moved[:, column] *= length / (high - low)
            moved[:, column] += 0.5 * length
        return moved

    def apply_segmentation(self, segmentation: np.ndarray) -> np.ndarray:
        """Extract the rectangle of a mask, nearest pixel.

        Args:
            segmentation: (H, W) uint8 or bool array.

        Returns:
            Array of ``output_size`` and the same dtype.
        """
        return self.apply_image(segmentation, interp=Image.Resampling.NEAREST)
