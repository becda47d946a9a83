"""A float canvas, drawn larger than the picture and shrunk at the end."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from .geometry import Points, outline_mask

Color = tuple[float, float, float]
Floats = NDArray[Any]
Window = tuple[slice, slice]


class Canvas:
    """Paint closed outlines on a BGR picture.

    Coordinates are those of the finished picture, continuous, (0, 0) the corner of its first pixel. ``parts``
    is a map of what is visible where: paint given a ``part`` number writes it there.
    """

    def __init__(self, width: int, height: int, scale: int = 2) -> None:
        self.width, self.height, self.scale = width, height, scale
        self.pixels: Floats = np.zeros((height * scale, width * scale, 3), np.float32)
        self.parts = np.zeros((height * scale, width * scale), np.uint8)

    def window(self, polygons: Sequence[Points], margin: float = 0.0) -> Window | None:
        """Return the drawn pixels that the outlines can reach, or None if they miss the canvas."""
        points = np.concatenate(list(polygons)) * self.scale
        low = np.floor(points.min(axis=0) - margin * self.scale - 1)
        high = np.ceil(points.max(axis=0) + margin * self.scale + 1)
        x0, y0 = np.maximum(low, 0).astype(int)
        x1, y1 = np.minimum(high, [self.width * self.scale, self.height * self.scale]).astype(int)
        return (slice(y0, y1), slice(x0, x1)) if x1 > x0 and y1 > y0 else None

    def mask(self, polygons: Sequence[Points], window: Window, feather: float = 0.0) -> Floats:
        """Return how much of each pixel the outlines cover, 0 to 1, blurred by ``feather`` pixels."""
        ys, xs = window
        shift = np.array([xs.start, ys.start]) / self.scale
        raw = outline_mask([p - shift for p in polygons], ys.stop - ys.start, xs.stop - xs.start, self.scale)
        cover = raw.astype(np.float32) / 255
        return cv2.GaussianBlur(cover, (0, 0), feather * self.scale) if feather else cover

    def paint(
        self,
        polygons: Points | Sequence[Points],
        color: Color | Floats,
        alpha: float = 1.0,
        feather: float = 0.0,
        part: int | None = None,
        within: Points | None = None,
    ) -> None:
        """Fill outlines with one colour.

        Args:
            polygons: one ``(N, 2)`` outline or several.
            color: BGR, 0 to 255.
            alpha: opacity.
            feather: softness of the edge in pixels.
            part: number to write in ``parts``.
            within: outline that limits the paint.
        """
        shapes = [polygons] if isinstance(polygons, np.ndarray) else list(polygons)
        window = self.window(shapes, 3 * feather)
        if window is None:
            return
        cover = self.mask(shapes, window, feather)
        if within is not None:
            cover = cover * self.mask([within], window)
        self.blend(window, np.asarray(color, np.float32), cover * alpha)
        if part is not None:
            self.parts[window][cover > 0.5] = part

    def shade(
        self, polygon: Points, axis: Points, stops: Sequence[tuple[float, Color]], part: int | None = None
    ) -> None:
        """Fill an outline with colours that change along ``axis``.

        Args:
            polygon: ``(N, 2)`` outline.
            axis: ``(2, 2)`` start and end of the change.
            stops: (position from 0 to 1, BGR) in order.
            part: number to write in ``parts``.
        """
        window = self.window([polygon])
        if window is None:
            return
        cover = self.mask([polygon], window)
        self.blend(window, self.gradient(window, axis, stops), cover)
        if part is not None:
            self.parts[window][cover > 0.5] = part

    def gradient(self, window: Window, axis: Points, stops: Sequence[tuple[float, Color]]) -> Floats:
        """Return the colours of the window's pixels for a change along ``axis``."""
        ys, xs = window
        start, along = axis[0] * self.scale, (axis[1] - axis[0]) * self.scale
        along = along / max(float(along @ along), 1e-6)
        x = (np.arange(xs.start, xs.stop) - start[0]) * along[0]
        y = (np.arange(ys.start, ys.stop) - start[1]) * along[1]
        index = np.clip((y[:, None] + x[None]) * 255, 0, 255).astype(np.uint8)
        positions, colors = [s[0] for s in stops], np.array([s[1] for s in stops])
        ramp = np.linspace(0, 1, 256)
        table = np.stack([np.interp(ramp, positions, colors[:, c]) for c in range(3)], axis=1)
        return cv2.LUT(cv2.merge([index] * 3), table.astype(np.float32)[None])

    def blend(self, window: Window, color: Floats, cover: Floats) -> None:
        """Lay colours over the window's pixels."""
        below = self.pixels[window]
        change = color - below
        change *= cover[..., None]
        below += change

    def finished(self) -> Floats:
        """Return the picture at its own size, float32 BGR."""
        return cv2.resize(self.pixels, (self.width, self.height), interpolation=cv2.INTER_AREA)
