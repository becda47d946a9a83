"""How much boxes overlap, for all pairs or for matched ones.

Areas are in square pixels; the arithmetic is float32, in the order of operations the field's matchers use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from .boxes import Boxes


def pairwise_intersection(boxes1: Boxes, boxes2: Boxes) -> torch.Tensor:
    """Return the intersection areas of N and M boxes, shape (N, M)."""
    first, second = boxes1.tensor, boxes2.tensor
    low = torch.max(first[:, None, :2], second[None, :, :2])
    high = torch.min(first[:, None, 2:], second[None, :, 2:])
    return (high - low).clamp_(min=0).prod(dim=2)


def pairwise_iou(boxes1: Boxes, boxes2: Boxes) -> torch.Tensor:
    """Return intersection over union of N and M boxes, shape (N, M); 0 where they don't meet."""
    intersection = pairwise_intersection(boxes1, boxes2)
    union = boxes1.area()[:, None] + boxes2.area()[None, :] - intersection
    return _ratio(intersection, union)


def pairwise_ioa(boxes1: Boxes, boxes2: Boxes) -> torch.Tensor:
    """Return intersection over the *second* boxes' area, shape (N, M); 0 where they don't meet."""
    intersection = pairwise_intersection(boxes1, boxes2)
    return _ratio(intersection, boxes2.area()[None, :].expand_as(intersection))


def matched_pairwise_iou(boxes1: Boxes, boxes2: Boxes) -> torch.Tensor:
    """Return intersection over union of row i with row i, shape (N,); NaN where both boxes have no area.

    Raises:
        ValueError: the two sets differ in length.
    """
    if len(boxes1) != len(boxes2):
        raise ValueError(f"Matched boxes must be equally many, got {len(boxes1)} and {len(boxes2)}.")
    first, second = boxes1.tensor, boxes2.tensor
    sides = (torch.min(first[:, 2:], second[:, 2:]) - torch.max(first[:, :2], second[:, :2])).clamp(min=0)
    intersection = sides[:, 0] * sides[:, 1]
    return intersection / (boxes1.area() + boxes2.area() - intersection)


def pairwise_point_box_distance(points: torch.Tensor, boxes: Boxes) -> torch.Tensor:
    """Return distances of N points (N, 2) to the left, top, right, bottom edges of M boxes, as (N, M, 4).

    All four are positive exactly when the point is inside the box.
    """
    corners = boxes.tensor[None]
    return torch.cat((points[:, None] - corners[..., :2], corners[..., 2:] - points[:, None]), dim=2)


def _ratio(intersection: torch.Tensor, whole: torch.Tensor) -> torch.Tensor:
    """Divide where boxes meet; a box without area meets nothing, so 0/0 never shows."""
    return torch.where(intersection > 0, intersection / whole, intersection.new_zeros(()))
