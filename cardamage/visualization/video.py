"""Drawing the frames of a video, each object in one color as long as it is seen."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from cardamage.absent import absent_names
from cardamage.structures import Boxes, Instances, pairwise_iou
from cardamage.utils.colormap import colormap

from .vis_image import VisImage
from .visualizer import ColorMode, Visualizer

__all__ = ["VideoVisualizer"]

_absent = absent_names("cardamage.utils.video_visualizer")

# An object of the same class whose box overlaps this much is the same one.
_SAME_OBJECT = 0.6
# For how many frames an object that is not found keeps its color.
_PATIENCE = 8


@dataclass
class _Known:
    label: int
    box: torch.Tensor
    color: tuple[float, ...]
    missed: int = 0


class VideoVisualizer:
    """Draws predictions over the frames of a video, which are to be given in order.

    Objects are followed from frame to frame by class and overlap, or by the field ``ID`` where a tracker has
    set it.
    """

    def __init__(self, metadata: Any, instance_mode: ColorMode = ColorMode.IMAGE) -> None:
        """Begin a video.

        Args:
            metadata: the dataset's metadata, or anything with its ``get``.
            instance_mode: ``IMAGE``, or ``IMAGE_BW`` for pictures that are gray outside the masks.

        Raises:
            ValueError: another mode, in which colors stand for classes.
        """
        if instance_mode not in (ColorMode.IMAGE, ColorMode.IMAGE_BW):
            raise ValueError(f"A video is drawn in mode IMAGE or IMAGE_BW, not {instance_mode.name}.")
        self.metadata = metadata
        self._mode = instance_mode
        self._colors = itertools.cycle(tuple(color) for color in colormap(rgb=True, maximum=1).tolist())
        self._known: list[_Known] = []
        self._by_id: dict[int, tuple[float, ...]] = {}

    def draw_instance_predictions(self, frame: np.ndarray, predictions: Instances) -> VisImage:
        """Draw a model's detections.

        Args:
            frame: (H, W, 3) RGB, from 0 to 255.
            predictions: ``pred_boxes`` and ``pred_classes``, or ``ID``, and what else there is to draw; see
                :meth:`Visualizer.draw_instance_predictions`.
        """
        visualizer = Visualizer(frame, self.metadata, instance_mode=self._mode)
        predictions = predictions.to("cpu")
        if predictions.has("ID"):
            colors = [self._color_of(int(number)) for number in predictions.ID]
        else:
            colors = self._follow(predictions.pred_boxes, predictions.pred_classes.tolist())
        return visualizer.draw_instance_predictions(predictions, assigned_colors=colors)

    draw_sem_seg = _absent("draw_sem_seg")
    draw_panoptic_seg_predictions = _absent("draw_panoptic_seg_predictions")

    def _color_of(self, number: int) -> tuple[float, ...]:
        if number not in self._by_id:
            self._by_id[number] = next(self._colors)
        return self._by_id[number]

    def _follow(self, boxes: Boxes, labels: list[int]) -> list[tuple[float, ...]]:
        matches = self._match(boxes, labels)
        found = [
            _Known(label, box, self._known[matches[i]].color if i in matches else next(self._colors))
            for i, (box, label) in enumerate(zip(boxes.tensor, labels, strict=True))
        ]
        lost = [known for i, known in enumerate(self._known) if i not in matches.values()]
        for known in lost:
            known.missed += 1
        self._known = found + [known for known in lost if known.missed < _PATIENCE]
        return [known.color for known in found]

    def _match(self, boxes: Boxes, labels: list[int]) -> dict[int, int]:
        """Pair new objects with known ones one to one, those that overlap most first."""
        matches: dict[int, int] = {}
        if not self._known or not labels:
            return matches
        overlap = pairwise_iou(boxes, Boxes(torch.stack([known.box for known in self._known])))
        overlap *= torch.tensor(labels)[:, None] == torch.tensor([known.label for known in self._known])
        while overlap.max() > _SAME_OBJECT:
            new, old = divmod(int(overlap.argmax()), len(self._known))
            matches[new] = old
            overlap[new], overlap[:, old] = 0, 0
        return matches
