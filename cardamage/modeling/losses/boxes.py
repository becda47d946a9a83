"""Losses on the overlap of boxes, written so that no step waits for a GPU (torchvision's and fvcore's do)."""

from __future__ import annotations

import math

import torch

__all__ = ["box_quality", "overlap_loss"]

_EPS = 1e-7


def overlap_loss(boxes: torch.Tensor, targets: torch.Tensor, kind: str) -> torch.Tensor:
    """Compute the loss of each pair of boxes.

    Args:
        boxes: (..., 4) XYXY, predicted.
        targets: (..., 4) XYXY.
        kind: ``iou`` (1 - IoU), ``giou`` (https://arxiv.org/abs/1902.09630), ``diou`` or ``ciou``
            (https://arxiv.org/abs/1911.08287).

    Returns:
        (...) losses, 0 where two boxes are the same.
    """
    low, high = (
        torch.maximum(boxes[..., :2], targets[..., :2]),
        torch.minimum(boxes[..., 2:], targets[..., 2:]),
    )
    sides = high - low
    inter = torch.where((sides > 0).all(dim=-1), _area(sides), torch.zeros_like(sides[..., 0]))
    size, target_size = boxes[..., 2:] - boxes[..., :2], targets[..., 2:] - targets[..., :2]
    union = _area(size) + _area(target_size) - inter
    iou = inter / (union + _EPS)
    if kind == "iou":
        return 1 - iou
    outer = torch.maximum(boxes[..., 2:], targets[..., 2:]) - torch.minimum(boxes[..., :2], targets[..., :2])
    if kind == "giou":
        area = _area(outer)
        return 1 - iou + (area - union) / (area + _EPS)
    apart = (boxes[..., :2] + boxes[..., 2:] - targets[..., :2] - targets[..., 2:]) / 2
    loss = 1 - iou + apart.square().sum(dim=-1) / (outer.square().sum(dim=-1) + _EPS)
    return loss if kind == "diou" else loss + _shape_penalty(size, target_size, iou)


@torch.no_grad()
def box_quality(boxes: torch.Tensor, targets: torch.Tensor, foreground: torch.Tensor) -> torch.Tensor:
    """Return how well boxes are told, without a gradient: the (...) IoU of pairs.

    Args:
        boxes: (..., 4) XYXY, predicted.
        targets: (..., 4) XYXY.
        foreground: (...) bool; elsewhere the boxes may hold anything, and the result is 0.
    """
    iou = 1 - overlap_loss(boxes, targets, "iou")
    return torch.where(foreground, iou, torch.zeros_like(iou)).clamp(0, 1)


def _area(size: torch.Tensor) -> torch.Tensor:
    # Not prod(), whose gradient waits for the device.
    return size[..., 0] * size[..., 1]


def _shape_penalty(size: torch.Tensor, target_size: torch.Tensor, iou: torch.Tensor) -> torch.Tensor:
    """Return what differing ratios of width to height cost: (...) of (..., 2) sizes."""
    ratios = [torch.atan(s[..., 0] / s[..., 1]) for s in (target_size, size)]
    difference = (4 / math.pi**2) * (ratios[0] - ratios[1]).square()
    with torch.no_grad():
        weight = difference / (1 - iou + difference + _EPS)
    return weight * difference
