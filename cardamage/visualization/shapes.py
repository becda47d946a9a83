"""Drawing single shapes, masks and tags over a picture."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np

from cardamage.utils.colormap import random_color

from .colors import Color, parse_color
from .masks import DrawnMask, read_masks
from .placement import TagPlacer
from .text import fit_text, render_tag, tag_size
from .vis_image import VisImage

__all__ = ["Shapes"]


class Shapes:
    """Draws single shapes over a picture; the base of :class:`cardamage.visualization.Visualizer`.

    Coordinates given to all methods are pixels of the picture.
    """

    def __init__(self, img_rgb: Any, scale: float, font_size_scale: float) -> None:
        picture = np.asarray(img_rgb).clip(0, 255).astype(np.uint8)
        self.img = np.repeat(picture[..., None], 3, axis=2) if picture.ndim == 2 else picture[..., :3]
        self.output = VisImage(self.img, scale)
        self._font_size = max(11.0, self.output.unit / 46) * font_size_scale
        height, width = self.output.canvas.shape[:2]
        self._placer = TagPlacer(width, height)

    def draw_box(
        self, box_coord: Any, alpha: float = 0.5, edge_color: Any = "g", line_style: str = "-"
    ) -> VisImage:
        """Draw the outline of a box.

        Args:
            box_coord: x0, y0, x1, y1.
            alpha: below 0.5 the line is drawn without its casing.
            edge_color: in any of matplotlib's formats.
            line_style: accepted for compatibility; lines are solid.
        """
        frame = np.asarray(box_coord, dtype=float) * self.output.scale
        self._draw_frame(frame, parse_color(edge_color), cased=alpha >= 0.5)
        return self.output

    def draw_polygon(self, segment: Any, color: Any, edge_color: Any = None, alpha: float = 0.5) -> VisImage:
        """Draw a filled polygon.

        Args:
            segment: (N, 2) points x, y.
            color: of the filling, in any of matplotlib's formats.
            edge_color: of the outline; by default ``color``.
            alpha: density of the filling.
        """
        mask = read_masks([[np.asarray(segment, dtype=float).reshape(-1)]], *self._target())[0]
        self._draw_mask(
            mask, parse_color(color), parse_color(color if edge_color is None else edge_color), alpha
        )
        return self.output

    def draw_binary_mask(
        self,
        binary_mask: Any,
        color: Any = None,
        *,
        edge_color: Any = None,
        text: str | None = None,
        alpha: float = 0.5,
        area_threshold: int | None = 10,
    ) -> VisImage:
        """Draw a mask given as pixels.

        Args:
            binary_mask: (H, W), nonzero inside.
            color: in any of matplotlib's formats; by default one at random.
            edge_color: of the outline; by default ``color``.
            text: a tag to put on it.
            alpha: density.
            area_threshold: draw nothing if the mask has fewer pixels.
        """
        color = random_color(rgb=True, maximum=1) if color is None else color
        mask = read_masks([np.asarray(binary_mask)], *self._target())[0]
        if not mask.area() or mask.area() < (area_threshold or 0) * self.output.scale**2:
            return self.output
        self._draw_mask(
            mask, parse_color(color), parse_color(color if edge_color is None else edge_color), alpha
        )
        if text is not None:
            self._draw_tags(np.array([mask.box]), [text], [parse_color(color)], [0])
        return self.output

    def draw_soft_mask(
        self, soft_mask: Any, color: Any = None, *, text: str | None = None, alpha: float = 0.5
    ) -> VisImage:
        """Tint the picture in proportion to ``soft_mask``, (H, W) from 0 to 1; other arguments as above."""
        rgb = parse_color(random_color(rgb=True, maximum=1) if color is None else color)
        canvas = self.output.canvas
        size = (canvas.shape[1], canvas.shape[0])
        weight = alpha * cv2.resize(np.asarray(soft_mask, dtype=np.float32), size)[..., None]
        canvas[:] = np.round(canvas * (1 - weight) + np.array(rgb, np.float32) * weight).astype(np.uint8)
        inside = read_masks([np.asarray(soft_mask) > 0.5], *self._target())[0]
        if text is not None and inside.area():
            self._draw_tags(np.array([inside.box]), [text], [rgb], [0])
        return self.output

    def draw_text(
        self,
        text: str,
        position: tuple[float, float],
        *,
        font_size: float | None = None,
        color: Any = "g",
        horizontal_alignment: str = "center",
        rotation: float = 0,
    ) -> VisImage:
        """Draw a tag with its upper edge at ``position``, moved where needed to stay in the picture.

        Args:
            text: one line.
            position: x, y; what of the tag lies there is said by ``horizontal_alignment``.
            font_size: in px of the result.
            color: of the tag; the letters are black or white.
            horizontal_alignment: ``"left"``, ``"center"`` or ``"right"``.
            rotation: accepted for compatibility; text is level.
        """
        canvas_width = self.output.canvas.shape[1]
        text, size = fit_text(text, round(font_size or self._font_size), canvas_width)
        width, height = tag_size(text, size)
        shift = {"left": 0.0, "center": 0.5, "right": 1.0}[horizontal_alignment] * width
        x = min(max(round(position[0] * self.output.scale - shift), 0), max(canvas_width - width, 0))
        y = min(max(round(position[1] * self.output.scale), 0), max(self.output.canvas.shape[0] - height, 0))
        self.output.paste(render_tag(text, size, parse_color(color)), x, y)
        self._placer.take(x, y, width, height)
        return self.output

    def draw_circle(self, circle_coord: tuple[float, float], color: Any, radius: float = 3) -> VisImage:
        """Draw a filled circle around x, y."""
        center = [round(16 * (v * self.output.scale - 0.5)) for v in circle_coord]
        reach = round(16 * radius * self.output.scale)
        cv2.circle(self.output.canvas, center, reach, parse_color(color), -1, cv2.LINE_AA, 4)
        return self.output

    def draw_line(
        self,
        x_data: Sequence[float],
        y_data: Sequence[float],
        color: Any,
        linestyle: str = "-",
        linewidth: float | None = None,
    ) -> VisImage:
        """Draw a line through points; ``linewidth`` is in px of the result, ``linestyle`` is always solid."""
        points = np.stack([x_data, y_data], axis=1).astype(float) * self.output.scale
        width = self.output.line_width if linewidth is None else max(1, round(linewidth))
        self.output.lines([_fixed_point(points)], parse_color(color), width, closed=False)
        return self.output

    def _target(self) -> tuple[float, tuple[int, int]]:
        return self.output.scale, self.output.canvas.shape[:2]

    def _draw_mask(self, mask: DrawnMask, color: Color, edge: Color, alpha: float) -> None:
        self.output.fill(mask, color, alpha)
        if mask.outlines:
            width = self.output.line_width
            # Around a thin scratch a full outline would hide the scratch.
            thin = mask.thickness() < 6 * width
            self.output.lines(mask.outlines, edge, width, cased=not thin)

    def _draw_frame(self, frame: np.ndarray, color: Color, cased: bool) -> None:
        x0, y0, x1, y1 = frame
        corners = np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1]])
        width = self.output.line_width if cased else max(1, self.output.line_width // 2)
        self.output.lines([_fixed_point(corners)], color, width, cased=cased)

    def _draw_tags(
        self, frames: np.ndarray, labels: Sequence[str], colors: Sequence[Color], order: Any
    ) -> None:
        crowding = min(1.0, max(0.7, (12 / max(len(labels), 1)) ** 0.5))
        wanted = max(9, round(self._font_size * crowding))
        for i in order:
            if not labels[i]:
                continue
            text, size = fit_text(labels[i], wanted, self.output.canvas.shape[1])
            x, y = self._placer.place(tuple(frames[i]), *tag_size(text, size))
            self.output.paste(render_tag(text, size, colors[i]), x, y)


def _fixed_point(points: np.ndarray) -> np.ndarray:
    """Turn continuous coordinates into cv2's 1/16 px around pixel centers."""
    return np.round((points - 0.5) * 16).astype(np.int32)
