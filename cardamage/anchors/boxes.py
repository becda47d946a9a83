"""The boxes of a dataset, as annotated and as the training's resize makes them."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from cardamage.config import CfgNode
from cardamage.errors import DataError
from cardamage.structures import BoxMode

__all__ = ["AnnotatedBoxes", "PlacedBoxes", "read_boxes", "resize_boxes", "resize_targets", "training_sizes"]

logger = logging.getLogger(__name__)

Record = Mapping[str, Any]
# Lengths that stand for a range of them.
_OF_A_RANGE = 9


@dataclass(frozen=True)
class AnnotatedBoxes:
    """Boxes in the pixels of their pictures.

    Attributes:
        corners: (N, 4) float64 XYXY, inside the picture and not empty.
        pictures: (N, 2) int64 height and width of each box's picture.
    """

    corners: np.ndarray
    pictures: np.ndarray

    def __len__(self) -> int:
        return len(self.corners)

    @property
    def shapes(self) -> np.ndarray:
        """(N, 2) float64 widths and heights."""
        return self.corners[:, 2:] - self.corners[:, :2]

    def sample(self, count: int, rng: np.random.Generator) -> AnnotatedBoxes:
        """Return this many of the boxes at random, or all where there are no more."""
        if len(self) <= count:
            return self
        chosen = np.sort(rng.choice(len(self), count, replace=False))
        return AnnotatedBoxes(self.corners[chosen], self.pictures[chosen])


@dataclass(frozen=True)
class PlacedBoxes:
    """Boxes in the pixels that the network sees.

    Attributes:
        corners: (N, 4) float64 XYXY.
        pictures: (N, 2) int64 height and width of each box's resized picture, without padding.
    """

    corners: np.ndarray
    pictures: np.ndarray

    def __len__(self) -> int:
        return len(self.corners)

    @property
    def shapes(self) -> np.ndarray:
        """(N, 2) float64 widths and heights."""
        return self.corners[:, 2:] - self.corners[:, :2]


def read_boxes(records: Sequence[Record]) -> AnnotatedBoxes:
    """Collect the boxes that a training on dataset dicts learns from.

    Crowds are left out, boxes are clipped to their picture, and what is empty then is left out, as the
    training does it.

    Args:
        records: dataset dicts with "height", "width" and "annotations".

    Returns:
        The boxes, in the records' order.

    Raises:
        DataError: a picture whose size isn't told, or a box that isn't one; file and annotation are named.
    """
    boxes: list[Any] = []
    modes: list[int] = []
    sizes: list[tuple[int, int]] = []
    for record in records:
        size = _size_of(record)
        for number, annotation in enumerate(record.get("annotations", ())):
            if annotation.get("iscrowd", 0):
                continue
            boxes.append(_numbers(annotation, number, record))
            modes.append(int(annotation.get("bbox_mode", BoxMode.XYXY_ABS)))
            sizes.append(size)
    return _clipped(_as_corners(boxes, modes), np.array(sizes, dtype=np.int64).reshape(-1, 2))


def _size_of(record: Record) -> tuple[int, int]:
    height, width = record.get("height"), record.get("width")
    if not height or not width:
        raise DataError(
            f"{record.get('file_name', '?')}: its dataset dict lacks height and width, without which boxes "
            "can't be brought to the training's size; give both."
        )
    return int(height), int(width)


def _numbers(annotation: Mapping[str, Any], number: int, record: Record) -> list[float]:
    try:
        box = [float(value) for value in annotation["bbox"]]
    except (KeyError, TypeError, ValueError):
        box = []
    if len(box) != 4 or not np.isfinite(box).all():
        raise DataError(
            f"{record.get('file_name', '?')}, annotation {number}: its box {annotation.get('bbox')!r} isn't "
            "four finite numbers; correct or remove it."
        )
    return box


def _as_corners(boxes: list[Any], modes: list[int]) -> np.ndarray:
    corners = np.array(boxes, dtype=np.float64).reshape(-1, 4)
    kinds = np.array(modes, dtype=np.int64)
    for mode in np.unique(kinds):
        chosen = kinds == mode
        corners[chosen] = BoxMode.convert(corners[chosen], BoxMode(int(mode)), BoxMode.XYXY_ABS)
    return corners


def _clipped(corners: np.ndarray, pictures: np.ndarray) -> AnnotatedBoxes:
    limits = pictures[:, [1, 0, 1, 0]]
    corners = np.minimum(corners.clip(min=0), limits)
    kept = (corners[:, 2:] > corners[:, :2]).all(axis=1)
    return AnnotatedBoxes(corners[kept], pictures[kept])


def training_sizes(cfg: CfgNode) -> list[tuple[int, int]]:
    """Return the short edges that a training resizes to, each with the limit of the long one.

    Args:
        cfg: INPUT.MIN_SIZE_TRAIN, MIN_SIZE_TRAIN_SAMPLING and MAX_SIZE_TRAIN are read.

    Returns:
        (short edge, limit) pairs; the short edge 0 leaves pictures as they are.
    """
    node = cfg.INPUT
    return resize_targets(node.MIN_SIZE_TRAIN, node.MAX_SIZE_TRAIN, node.MIN_SIZE_TRAIN_SAMPLING == "range")


def resize_targets(lengths: Sequence[int], limit: int, is_range: bool) -> list[tuple[int, int]]:
    """Return what :class:`~cardamage.data.transforms.ResizeShortestEdge` resizes to.

    Args:
        lengths: its short edges, or the least and the greatest of a range.
        limit: of the long edge.
        is_range: whether lengths are drawn from a range, which nine of them then stand for.

    Returns:
        See :func:`training_sizes`.
    """
    if is_range:
        lengths = np.unique(np.linspace(lengths[0], lengths[1], _OF_A_RANGE).round().astype(int)).tolist()
    return [(int(length), int(limit)) for length in lengths]


def resize_boxes(boxes: AnnotatedBoxes, sizes: Sequence[tuple[int, int]]) -> Iterator[PlacedBoxes]:
    """Bring boxes to the sizes of a training, one size after the other.

    Args:
        boxes: as annotated.
        sizes: of :func:`training_sizes`.

    Yields:
        All boxes at one size.
    """
    for length, limit in sizes:
        pictures = _output_sizes(boxes.pictures, length, limit)
        scale = pictures / boxes.pictures
        yield PlacedBoxes(boxes.corners * scale[:, [1, 0, 1, 0]], pictures)


def _output_sizes(pictures: np.ndarray, length: int, limit: int) -> np.ndarray:
    """:meth:`ResizeShortestEdge.get_output_shape` of many pictures: (N, 2) int64 heights and widths."""
    if length == 0:
        return pictures
    # The same operations in the same order, as they decide how a half rounds.
    height, width = pictures[:, 0].astype(np.float64), pictures[:, 1].astype(np.float64)
    lying = height < width
    scale = length * 1.0 / np.minimum(height, width)
    tall, wide = np.where(lying, length, scale * height), np.where(lying, scale * width, length)
    longer = np.maximum(tall, wide)
    shrink = np.where(longer > limit, limit * 1.0 / longer, 1.0)
    edges = np.stack([tall * shrink, wide * shrink], axis=1)
    return np.maximum(1, (edges + 0.5).astype(np.int64))
