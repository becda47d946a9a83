"""Drawing objects over a picture, with Detectron2's interface."""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from typing import Any

import cv2
import numpy as np
import torch

from cardamage.structures import Boxes, BoxMode, Instances
from cardamage.utils.colormap import random_color

from .colors import Color, class_color, parse_color, shades
from .masks import DrawnMask, read_masks
from .placement import TagPlacer
from .text import fit_text, render_tag, tag_size
from .vis_image import VisImage

__all__ = ["ColorMode", "Visualizer"]


class ColorMode(Enum):
    """How instances are colored.

    ``IMAGE``: tinted in their class's color, in a lightness of their own. ``SEGMENTATION``: in exactly their
    class's color, dense. ``IMAGE_BW``: as ``IMAGE``, lightly, over a picture that is gray outside the masks.
    """

    IMAGE = 0
    SEGMENTATION = 1
    IMAGE_BW = 2


class Visualizer:
    """Draws predictions, annotations or single shapes over a picture.

    Class names and colors come from the metadata's ``thing_classes`` and ``thing_colors``; without the
    latter, from a palette made for colour-blind readers too. Coordinates given to all methods are pixels of
    the picture.

    Args:
        img_rgb: (H, W, 3) RGB or (H, W) gray, from 0 to 255; not modified.
        metadata: the dataset's metadata, or anything with its ``get``.
        scale: size of the result relative to the picture.
        instance_mode: how instances are colored.
        font_size_scale: size of all text relative to the usual.
    """

    def __init__(
        self,
        img_rgb: Any,
        metadata: Any = None,
        scale: float = 1.0,
        instance_mode: ColorMode = ColorMode.IMAGE,
        font_size_scale: float = 1.0,
    ) -> None:
        picture = np.asarray(img_rgb).clip(0, 255).astype(np.uint8)
        self.img = np.repeat(picture[..., None], 3, axis=2) if picture.ndim == 2 else picture[..., :3]
        self.metadata = metadata if metadata is not None else {}
        self.output = VisImage(self.img, scale)
        self._mode = instance_mode
        self._font_size = max(11.0, self.output.unit / 46) * font_size_scale
        height, width = self.output.canvas.shape[:2]
        self._placer = TagPlacer(width, height)

    def get_output(self) -> VisImage:
        """Return the canvas with all that was drawn."""
        return self.output

    def draw_instance_predictions(self, predictions: Instances, jittering: bool = True) -> VisImage:
        """Draw a model's detections.

        Args:
            predictions: any of ``pred_boxes``, ``pred_classes``, ``scores`` and ``pred_masks`` ((R, H, W) or
                ``RLEMasks``).
            jittering: in mode ``SEGMENTATION``, tell instances of a class apart by lightness.
        """
        predictions = predictions.to("cpu")
        masks = predictions.pred_masks if predictions.has("pred_masks") else None
        boxes = predictions.pred_boxes if predictions.has("pred_boxes") else None
        classes = predictions.pred_classes.tolist() if predictions.has("pred_classes") else None
        scores = predictions.scores.tolist() if predictions.has("scores") else None
        if self._mode is ColorMode.IMAGE_BW:
            self.output.reset_image(self._gray_outside(masks))
        return self.overlay_instances(
            masks=masks,
            boxes=boxes,
            labels=self._labels(classes, scores),
            assigned_colors=self._instance_colors(classes, jittering),
            alpha=self._alpha(),
        )

    def draw_dataset_dict(self, dic: dict[str, Any]) -> VisImage:
        """Draw the annotations of one image of a dataset.

        Args:
            dic: a dataset dict; only ``annotations`` is read.
        """
        annotations = dic.get("annotations") or []
        classes = [int(a["category_id"]) for a in annotations]
        labels = self._labels(classes, None) or []
        labels = [
            f"{label} (crowd)" if a.get("iscrowd") else label
            for label, a in zip(labels, annotations, strict=True)
        ]
        boxes = [BoxMode.convert(list(a["bbox"]), a["bbox_mode"], BoxMode.XYXY_ABS) for a in annotations]
        masks = [a.get("segmentation") for a in annotations]
        return self.overlay_instances(
            masks=masks if any(mask is not None for mask in masks) else None,
            boxes=np.array(boxes, dtype=float).reshape(-1, 4),
            labels=labels,
            assigned_colors=self._instance_colors(classes, True),
            alpha=self._alpha(),
        )

    def overlay_instances(
        self,
        *,
        boxes: Any = None,
        labels: Sequence[str] | None = None,
        masks: Any = None,
        keypoints: Any = None,
        assigned_colors: Sequence[Any] | None = None,
        alpha: float = 0.45,
    ) -> VisImage:
        """Draw objects, large ones below small ones, and then their tags.

        Args:
            boxes: ``Boxes`` or an (N, 4) array of x0, y0, x1, y1.
            labels: a text per object.
            masks: ``PolygonMasks``, ``BitMasks``, ``RLEMasks``, an (N, H, W) array or a list with polygons, a
                run-length dict, an (H, W) array or None for each object.
            keypoints: (N, K, 3) x, y and visibility; visible ones become dots.
            assigned_colors: a color per object, in any of matplotlib's formats.
            alpha: density of the masks, 0 to 1.

        Raises:
            ValueError: the arguments differ in length.
        """
        scaled = None if boxes is None else _read_boxes(boxes) * self.output.scale
        drawn = None if masks is None else read_masks(masks, self.output.scale, self.output.canvas.shape[:2])
        count = _common_length(
            boxes=scaled, masks=drawn, labels=labels, keypoints=keypoints, assigned_colors=assigned_colors
        )
        colors = (
            [parse_color(c) for c in assigned_colors] if assigned_colors is not None else shades(range(count))
        )
        frames = scaled if scaled is not None else _mask_boxes(drawn, count)
        order = np.argsort(-np.prod(frames[:, 2:] - frames[:, :2], axis=1), kind="stable").tolist()
        for i in order:
            self._draw_object(
                drawn[i] if drawn else None, scaled[i] if scaled is not None else None, colors[i], alpha
            )
        for i in order if keypoints is not None else []:
            self._draw_keypoints(np.asarray(keypoints[i]), colors[i])
        if labels is not None:
            self._draw_tags(frames, labels, colors, reversed(order))
        return self.output

    def draw_box(
        self, box_coord: Any, alpha: float = 1.0, edge_color: Any = "g", line_style: str = "-"
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

    def draw_polygon(self, segment: Any, color: Any, edge_color: Any = None, alpha: float = 0.45) -> VisImage:
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
        alpha: float = 0.45,
        area_threshold: int = 0,
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
        if not mask.area() or mask.area() < area_threshold * self.output.scale**2:
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

    def _alpha(self) -> float:
        return {ColorMode.IMAGE: 0.45, ColorMode.SEGMENTATION: 0.75, ColorMode.IMAGE_BW: 0.3}[self._mode]

    def _labels(self, classes: Sequence[int] | None, scores: Sequence[float] | None) -> list[str] | None:
        if classes is None:
            return None if scores is None else [f"{score:.0%}" for score in scores]
        known = self.metadata.get("thing_classes", None) or []
        names = [str(known[c]) if 0 <= c < len(known) else f"class {c}" for c in classes]
        return names if scores is None else [f"{n} {s:.0%}" for n, s in zip(names, scores, strict=True)]

    def _instance_colors(self, classes: Sequence[int] | None, jittering: bool) -> list[Any] | None:
        if classes is None:
            return None
        given = self.metadata.get("thing_colors", None)
        plain = self._mode is ColorMode.SEGMENTATION and not jittering
        colors = [class_color(c, given) for c in classes] if plain else shades(classes, given)
        return [tuple(v / 255 for v in color) for color in colors]

    def _gray_outside(self, masks: Any) -> np.ndarray:
        gray = np.repeat(cv2.cvtColor(self.img, cv2.COLOR_RGB2GRAY)[..., None], 3, axis=2)
        for mask in read_masks(masks, 1.0, self.img.shape[:2]) if masks is not None else []:
            x0, y0, x1, y1 = mask.box
            inside = mask.window > 0
            gray[y0:y1, x0:x1][inside] = self.img[y0:y1, x0:x1][inside]
        return gray

    def _draw_object(
        self, mask: DrawnMask | None, frame: np.ndarray | None, color: Color, alpha: float
    ) -> None:
        if mask is not None:
            self._draw_mask(mask, color, color, alpha)
        if frame is not None:
            self._draw_frame(frame, color, cased=mask is None)

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

    def _draw_keypoints(self, keypoints: np.ndarray, color: Color) -> None:
        for x, y, visible in keypoints:
            if visible > 0.05:
                self.draw_circle(
                    (x, y), [v / 255 for v in color], radius=self.output.unit / 150 / self.output.scale
                )

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


def _read_boxes(boxes: Any) -> np.ndarray:
    if isinstance(boxes, Boxes):
        boxes = boxes.tensor
    if isinstance(boxes, torch.Tensor):
        boxes = boxes.detach().cpu().numpy()
    return np.asarray(boxes, dtype=float).reshape(-1, 4)


def _mask_boxes(masks: Sequence[DrawnMask] | None, count: int) -> np.ndarray:
    if masks is None:
        return np.zeros((count, 4))
    return np.array([mask.box for mask in masks], dtype=float).reshape(-1, 4)


def _common_length(**columns: Any) -> int:
    lengths = {name: len(column) for name, column in columns.items() if column is not None}
    if len(set(lengths.values())) > 1:
        raise ValueError(f"overlay_instances needs one entry per object everywhere, got {lengths}.")
    return next(iter(lengths.values()), 0)
