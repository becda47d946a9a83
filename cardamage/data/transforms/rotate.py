"""Rotation."""

from __future__ import annotations

import cv2
import numpy as np
from fvcore.transforms.transform import Transform, TransformList

from cardamage.data.transforms.crop import CropTransform

__all__ = ["RotationTransform"]


class RotationTransform(Transform):
    """Rotate counter-clockwise by some degrees around a point."""

    def __init__(
        self,
        h: int,
        w: int,
        angle: float,
        expand: bool = True,
        center: tuple[float, float] | None = None,
        interp: int | None = None,
    ) -> None:
        """Set the size and the angle.

        Args:
            h: height of the input in pixels.
            w: width of the input.
            angle: degrees, counter-clockwise as seen on the picture.
            expand: grow the output so that the whole rotated picture fits; otherwise the size stays (h, w).
            center: x, y of the fixed point in pixels, the picture's center when None; without effect when the
                output grows.
            interp: an OpenCV interpolation flag; linear when None.
        """
        super().__init__()
        image_center = np.array((w / 2, h / 2))
        center = (w / 2, h / 2) if center is None else center
        interp = cv2.INTER_LINEAR if interp is None else interp
        bound_w, bound_h = _rotated_size(h, w, angle) if expand else (w, h)
        self._set_attributes(locals())
        self.rm_coords = self.create_rotation_matrix()
        # OpenCV's image coordinates name pixel centers, ours pixel corners: half a pixel apart.
        self.rm_image = self.create_rotation_matrix(offset=-0.5)

    def create_rotation_matrix(self, offset: float = 0) -> np.ndarray:
        """Make the affine matrix.

        Args:
            offset: shift of the coordinate origin in pixels.

        Returns:
            (2, 3) float64 matrix for ``cv2.transform`` and ``cv2.warpAffine``.
        """
        x, y = self.center
        matrix: np.ndarray = cv2.getRotationMatrix2D((x + offset, y + offset), self.angle, 1)
        if self.expand:
            middle = cv2.transform(self.image_center[None, None, :] + offset, matrix)[0, 0, :]
            shift = np.array([self.bound_w / 2, self.bound_h / 2]) + offset - middle
            matrix[:, 2] += shift
        return matrix

    def apply_image(self, img: np.ndarray, interp: int | None = None) -> np.ndarray:
        """Rotate an image.

        Args:
            img: (h, w) or (h, w, C) array.
            interp: overrides the transform's flag.

        Returns:
            (bound_h, bound_w[, C]) array of the same dtype; zero where nothing was.

        Raises:
            ValueError: If the array isn't (h, w, ...).
        """
        if len(img) == 0 or self.angle % 360 == 0:
            return img
        if img.shape[:2] != (self.h, self.w):
            raise ValueError(
                f"This rotation is for images of height {self.h} and width {self.w}; got an array "
                f"of {img.shape}."
            )
        flags = self.interp if interp is None else interp
        pixels = np.ascontiguousarray(img).view(np.uint8) if img.dtype == bool else img
        turned = cv2.warpAffine(pixels, self.rm_image, (self.bound_w, self.bound_h), flags=flags)
        return turned.reshape(self.bound_h, self.bound_w, *img.shape[2:]).astype(img.dtype, copy=False)

    def apply_coords(self, coords: np.ndarray) -> np.ndarray:
        """Rotate points.

        Args:
            coords: (N, 2) x, y in pixels.

        Returns:
            New (N, 2) float64 array.
        """
        points = np.asarray(coords, dtype=np.float64)
        if len(points) == 0 or self.angle % 360 == 0:
            return points
        return cv2.transform(points[:, np.newaxis, :], self.rm_coords)[:, 0, :]

    def apply_segmentation(self, segmentation: np.ndarray) -> np.ndarray:
        """Rotate a mask, nearest pixel.

        Args:
            segmentation: (h, w) integer or bool array.

        Returns:
            (bound_h, bound_w) array of the same dtype.
        """
        return self.apply_image(segmentation, interp=cv2.INTER_NEAREST)

    def inverse(self) -> TransformList:
        """Rotate back and crop to the original size.

        Returns:
            The two transforms.

        Raises:
            NotImplementedError: If the rotation cut parts of the picture off (``expand=False``).
        """
        if not self.expand:
            raise NotImplementedError("A rotation with expand=False cuts corners off and can't be inverted.")
        back = RotationTransform(self.bound_h, self.bound_w, -self.angle, True, None, self.interp)
        left, top = (back.bound_w - self.w) // 2, (back.bound_h - self.h) // 2
        return TransformList([back, CropTransform(left, top, self.w, self.h)])


def _rotated_size(h: int, w: int, angle: float) -> tuple[int, int]:
    cos, sin = abs(np.cos(np.deg2rad(angle))), abs(np.sin(np.deg2rad(angle)))
    width, height = np.rint([h * sin + w * cos, h * cos + w * sin]).astype(int)
    return int(width), int(height)
