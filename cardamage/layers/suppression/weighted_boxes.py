"""Weighted box fusion: boxes that are about one object become one, their mean."""

from __future__ import annotations

import torch

from .fading import first_best
from .overlaps import overlaps

__all__ = ["fuse_weighted_boxes"]


def fuse_weighted_boxes(
    boxes: torch.Tensor,
    scores: torch.Tensor,
    alive: torch.Tensor,
    views: torch.Tensor,
    iou_threshold: float = 0.55,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Merge what several views of a picture, or several models, find.

    Solovyev et al., Weighted boxes fusion, Image and Vision Computing 2021, https://arxiv.org/abs/1910.13302.
    One by one, the best first, every box joins the fused box that it overlaps most, if that is above the
    threshold, and begins a new one otherwise. A fused box is the mean of its boxes, weighted by their scores.
    Its score is the mean of theirs, times the share of the views that it was found in. All groups go in step.

    Args:
        boxes: (G, K, 4) x0, y0, x1, y1 of G groups of K boxes, the best first.
        scores: (G, K), above 0.
        alive: (G, K) bool; other boxes count for nothing.
        views: (G,) how many views the boxes of a group come from.
        iou_threshold: the overlap above which a box joins.

    Returns:
        (G, K, 4) fused boxes, (G, K) their scores, both at least float32, and (G, K) bool: the places in use,
        of every group the first ones.
    """
    dtype = torch.promote_types(scores.dtype, torch.float32)
    boxes = boxes.to(dtype).masked_fill(~alive[..., None], 0)
    weights = scores.to(dtype).masked_fill(~alive, 0)
    groups, size = alive.shape
    # A box's numbers first, so that those of all boxes are in a row.
    sums, fused = boxes.new_zeros(2, 4, groups, size)
    total, members = boxes.new_zeros(2, groups, size)
    used = torch.zeros(groups, 1, dtype=torch.int64, device=boxes.device)
    for place in range(size):
        known = slice(0, place + 1)
        overlap = overlaps(fused[:, :, known].movedim(0, -1), boxes[:, place, None])
        nearest = first_best(overlap)
        joins = overlap.gather(1, nearest) > iou_threshold
        here = alive[:, place, None]
        cell = torch.where(joins, nearest, used)
        weight = weights[:, place, None]
        total.scatter_add_(1, cell, weight)
        members.scatter_add_(1, cell, here.to(dtype))
        column = cell.expand(4, -1, -1)
        sums.scatter_add_(2, column, boxes[:, place, :, None].movedim(1, 0) * weight)
        mean = sums.gather(2, column) / total.gather(1, cell).clamp(min=torch.finfo(dtype).tiny)
        fused.scatter_(2, column, mean)
        used += here & ~joins
    found = members.clamp(min=1)
    share = torch.minimum(found, views.to(dtype)[:, None]) / views.to(dtype)[:, None]
    return fused.movedim(0, -1), total / found * share, members > 0
