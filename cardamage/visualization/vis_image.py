"""The canvas: an RGB picture that shapes are drawn on."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from cardamage.utils.files import atomic_write

from .colors import Color, luminance
from .masks import DrawnMask

__all__ = ["VisImage", "save_image"]

_SHIFT = 4


class VisImage:
    """A picture being drawn on.

    Coordinates of all methods are canvas pixels; the first pixel's corner is at 0, 0.

    Args:
        img: uint8 (H, W, 3) RGB; not modified.
        scale: size of the canvas relative to ``img``.

    Attributes:
        canvas: uint8 (H', W', 3) RGB.
        scale: as given.
        width, height: of ``img``.
    """

    def __init__(self, img: np.ndarray, scale: float = 1.0) -> None:
        self.scale = scale
        self.height, self.width = img.shape[:2]
        self.reset_image(img)

    def reset_image(self, img: np.ndarray) -> None:
        """Start over from ``img``, of the same size as the first."""
        self.img = img
        if self.scale == 1:
            self.canvas: np.ndarray = np.array(img, dtype=np.uint8, order="C")
            return
        size = (max(1, round(self.width * self.scale)), max(1, round(self.height * self.scale)))
        how = cv2.INTER_AREA if self.scale < 1 else cv2.INTER_CUBIC
        self.canvas = cv2.resize(np.ascontiguousarray(img, dtype=np.uint8), size, interpolation=how)

    @property
    def unit(self) -> float:
        """The canvas's size in px as one number, for widths and letters to follow."""
        height, width = self.canvas.shape[:2]
        return float(np.sqrt(height * width))

    @property
    def line_width(self) -> int:
        """Width in px of a fine line that can be seen when the whole picture is."""
        return max(1, round(self.unit / 360))

    def get_image(self) -> np.ndarray:
        """Return a copy of the canvas, uint8 (H', W', 3) RGB."""
        return self.canvas.copy()

    def save(self, filepath: str | os.PathLike[str]) -> None:
        """Write the canvas as PNG, JPEG or what else the ending says.

        Raises:
            ValueError: the ending is unknown.
        """
        save_image(filepath, self.canvas)

    def fill(self, mask: DrawnMask, color: Color, alpha: float) -> None:
        """Tint the pixels of ``mask``; alpha 1 hides what is below."""
        x0, y0, x1, y1 = mask.box
        below = self.canvas[y0:y1, x0:x1]
        inside = mask.window[: below.shape[0], : below.shape[1]]
        if not below.size:
            return
        tinted = cv2.addWeighted(below, 1 - alpha, np.full_like(below, color), alpha, 0)
        below[inside > 0] = tinted[inside > 0]

    def lines(
        self,
        outlines: Sequence[np.ndarray],
        color: Color,
        width: int,
        closed: bool = True,
        cased: bool = True,
    ) -> None:
        """Draw smooth lines, with a casing that keeps them visible on a ground of the same color.

        Args:
            outlines: int32 (N, 2) arrays of x, y in 1/16 px, pixel centers at whole numbers.
            color: of the line.
            width: in px, without the casing.
            closed: join the last point to the first.
            cased: draw the casing.
        """
        if cased:
            casing = (255, 255, 255) if luminance(color) < 0.12 else (24, 24, 24)
            extra = 2 * max(1, round(width / 3))
            cv2.polylines(self.canvas, outlines, closed, casing, width + extra, cv2.LINE_AA, _SHIFT)
        cv2.polylines(self.canvas, outlines, closed, color, width, cv2.LINE_AA, _SHIFT)

    def paste(self, tag: np.ndarray, x: int, y: int) -> None:
        """Lay an RGBA picture over the canvas, its upper left corner at x, y; what sticks out is cut off."""
        height, width = self.canvas.shape[:2]
        x0, y0, x1, y1 = max(x, 0), max(y, 0), min(x + tag.shape[1], width), min(y + tag.shape[0], height)
        if x1 <= x0 or y1 <= y0:
            return
        part = tag[y0 - y : y1 - y, x0 - x : x1 - x].astype(np.float32)
        alpha = part[..., 3:] / 255
        below = self.canvas[y0:y1, x0:x1]
        below[:] = np.round(part[..., :3] * alpha + below * (1 - alpha)).astype(np.uint8)


def save_image(path: str | os.PathLike[str], rgb: np.ndarray) -> None:
    """Write an RGB picture whole or not at all, creating folders.

    Args:
        path: where to; the ending picks the format.
        rgb: uint8 (H, W, 3).

    Raises:
        ValueError: the ending is unknown.
    """
    path = Path(path)
    options = [cv2.IMWRITE_JPEG_QUALITY, 92] if path.suffix.lower() in (".jpg", ".jpeg") else []
    try:
        # Encoding in memory keeps cv2 away from the path: on Windows it can't open non-ASCII ones.
        _, data = cv2.imencode(path.suffix or ".png", np.ascontiguousarray(rgb[..., ::-1]), options)
    except cv2.error as error:
        raise ValueError(
            f"Can't write {path}: {path.suffix!r} isn't an image format; use .png or .jpg."
        ) from error
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(path, "wb") as file:
        file.write(data.tobytes())
