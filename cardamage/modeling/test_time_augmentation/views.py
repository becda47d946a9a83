"""One view of a photo: where its pixels lie in the photo, and which side of the car they show."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from cardamage.data.annotations.sides import is_mirrored
from cardamage.errors import DataError
from cardamage.structures import Boxes, Instances

__all__ = ["View", "batches_by_size", "batches_in_order", "views_of"]

_CORNERS = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]])


@dataclass(eq=False)
class View:
    """A view of a photo.

    Attributes:
        photo: the photo's number.
        record: the model's input.
        transforms: from the photo's pixels to the view's.
        mirrored: whether they exchange left and right.
    """

    photo: int
    record: dict[str, Any]
    transforms: Any
    mirrored: bool

    @property
    def size(self) -> tuple[int, int]:
        """Height and width."""
        height, width = self.record["image"].shape[-2:]
        return int(height), int(width)

    def to_photo(self, boxes: torch.Tensor) -> torch.Tensor:
        """Move (R, 4) boxes of this view, float32 on the processor, to the photo's pixels."""
        return torch.from_numpy(self.transforms.inverse().apply_box(boxes.numpy()))

    def seen(self, found: Instances, exchange: torch.Tensor) -> Instances:
        """Say where and as what this view shows a photo's detections.

        Args:
            found: in the photo, on the processor.
            exchange: (K,) int64, what each class is in a mirrored view.

        Returns:
            ``pred_boxes``, ``pred_classes`` and ``scores`` in this view.
        """
        boxes = torch.from_numpy(self.transforms.apply_box(found.pred_boxes.tensor.numpy()))
        classes = exchange[found.pred_classes] if self.mirrored else found.pred_classes
        return Instances(self.size, pred_boxes=Boxes(boxes), pred_classes=classes, scores=found.scores)

    def masks_to_photo(self, masks: torch.Tensor) -> torch.Tensor:
        """Turn (R, 1, M, M) masks of this view's boxes to lie as in the photo.

        Raises:
            DataError: for a view that is turned or skewed, whose boxes are others.
        """
        origin, right, down = np.asarray(self.transforms.apply_coords(_CORNERS.copy()), dtype=np.float64)
        (right_x, right_y), (down_x, down_y) = right - origin, down - origin
        if abs(right_y) > 1e-6 * abs(right_x) or abs(down_x) > 1e-6 * abs(down_y):
            raise DataError(
                "Masks of test-time augmentation can't be merged where a view is turned or skewed: let the "
                "mapper resize and flip alone, or set MODEL.MASK_ON to False."
            )
        dims = [dim for dim, step in ((-1, right_x), (-2, down_y)) if step < 0]
        return masks.flip(dims) if dims else masks


def views_of(
    photos: Iterable[Mapping[str, Any]], mapper: Callable[[Mapping[str, Any]], list[dict[str, Any]]]
) -> list[View]:
    """Make the views of photos, one photo's after the other's.

    Args:
        photos: model inputs.
        mapper: a :class:`.DatasetMapperTTA`, or what returns the like.
    """
    views = []
    for number, photo in enumerate(photos):
        for record in mapper(photo):
            transforms = record.pop("transforms")
            views.append(View(number, record, transforms, is_mirrored(transforms)))
    return views


def batches_by_size(views: Sequence[View], limit: int) -> Iterator[list[int]]:
    """Put views of one size together, so that none is padded: each gets what it would get alone.

    Args:
        views: of any photos.
        limit: the most views of a batch.

    Yields:
        Positions of views.
    """
    groups: dict[tuple[int, int], list[int]] = {}
    for position, view in enumerate(views):
        groups.setdefault(view.size, []).append(position)
    for group in groups.values():
        for start in range(0, len(group), limit):
            yield group[start : start + limit]


def batches_in_order(views: Sequence[View], limit: int) -> Iterator[list[int]]:
    """Put together what follows each other within a photo, as Detectron2 does; smaller views are padded.

    Args:
        views: one photo's after the other's.
        limit: the most views of a batch.

    Yields:
        Positions of views.
    """
    batch: list[int] = []
    for position, view in enumerate(views):
        if batch and (len(batch) == limit or views[batch[0]].photo != view.photo):
            yield batch
            batch = []
        batch.append(position)
    if batch:
        yield batch
