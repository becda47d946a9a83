"""Drawing objects over a picture, with Detectron2's interface."""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from typing import Any

import cv2
import numpy as np
import torch

from cardamage.absent import absent_names
from cardamage.structures import Boxes, BoxMode, Instances

from .colors import Color, class_color, parse_color, shades
from .masks import DrawnMask, read_masks
from .shapes import Shapes
from .vis_image import VisImage

__all__ = ["ColorMode", "Visualizer"]

_absent = absent_names("cardamage.utils.visualizer")


class ColorMode(Enum):
    """How instances are colored.

    ``IMAGE``: tinted in their class's color, in a lightness of their own. ``SEGMENTATION``: in exactly their
    class's color, dense. ``IMAGE_BW``: as ``IMAGE``, lightly, over a picture that is gray outside the masks.
    """

    IMAGE = 0
    SEGMENTATION = 1
    IMAGE_BW = 2


class Visualizer(Shapes):
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
        super().__init__(img_rgb, scale, font_size_scale)
        self.metadata = metadata if metadata is not None else {}
        self._mode = instance_mode

    def get_output(self) -> VisImage:
        """Return the canvas with all that was drawn."""
        return self.output

    def draw_instance_predictions(
        self,
        predictions: Instances,
        jittering: bool = True,
        assigned_colors: Sequence[Any] | None = None,
    ) -> VisImage:
        """Draw a model's detections.

        Args:
            predictions: any of ``pred_boxes``, ``pred_classes``, ``scores`` and ``pred_masks`` ((R, H, W) or
                ``RLEMasks``).
            jittering: in mode ``SEGMENTATION``, tell instances of a class apart by lightness.
            assigned_colors: a color per object, in any of matplotlib's formats; by default its class's.
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
            assigned_colors=assigned_colors or self._instance_colors(classes, jittering),
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
        alpha: float = 0.5,
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

    draw_sem_seg = _absent("draw_sem_seg")
    draw_panoptic_seg = _absent("draw_panoptic_seg")
    draw_panoptic_seg_predictions = _absent("draw_panoptic_seg_predictions")
    overlay_rotated_instances = _absent("overlay_rotated_instances")
    draw_rotated_box_with_label = _absent("draw_rotated_box_with_label")
    draw_and_connect_keypoints = _absent("draw_and_connect_keypoints")

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

    def _draw_keypoints(self, keypoints: np.ndarray, color: Color) -> None:
        for x, y, visible in keypoints:
            if visible > 0.05:
                self.draw_circle(
                    (x, y), [v / 255 for v in color], radius=self.output.unit / 150 / self.output.scale
                )


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
