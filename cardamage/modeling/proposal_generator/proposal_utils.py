"""From scored boxes to proposals."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

from cardamage.layers import nms_keep_mask
from cardamage.structures import Instances

from ..batch import ProposalBatch, TargetBatch, fixed_shapes, size_tensor

__all__ = ["add_ground_truth_to_proposals", "best_of_batch", "select_proposals"]

# The objectness of ground truth among proposals: of a probability of nearly 1.
_GT_LOGIT = math.log((1.0 - 1e-10) / (1 - (1.0 - 1e-10)))


def best_of_batch(scores: torch.Tensor, keep: torch.Tensor, limit: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Order the kept entries of every row by falling score, ties by place.

    Args:
        scores: (N, T).
        keep: (N, T) bool.
        limit: how many of a row to return at most.

    Returns:
        (N, K) int64 indices into T with K = min(T, limit), kept entries first, and (N, K) bool:
        whether the entry was kept.
    """
    ranked = scores.masked_fill(~keep, -math.inf)
    order = ranked.sort(dim=1, descending=True, stable=True).indices[:, :limit]
    return order, keep.gather(1, order)


def _take(values: torch.Tensor, index: torch.Tensor) -> torch.Tensor:
    """Gather (N, K) places of (N, T, 4)."""
    return values.gather(1, index[:, :, None].expand(-1, -1, values.shape[2]))


def select_proposals(
    boxes: torch.Tensor,
    logits: torch.Tensor,
    levels: torch.Tensor,
    image_sizes: Sequence[tuple[int, int]],
    nms_thresh: float,
    post_nms_topk: int,
    min_box_size: float,
) -> ProposalBatch:
    """Clip boxes, drop small, non-finite and overlapping ones, and keep every image's best.

    Args:
        boxes: (N, T, 4) XYXY candidates.
        logits: (N, T) their objectness.
        levels: (T,) int64, the pyramid level; boxes suppress only others of their level.
        image_sizes: N sizes (h, w).
        nms_thresh: the overlap from which on the lower-scored box goes.
        post_nms_topk: how many an image keeps.
        min_box_size: a box must be wider and higher than this, in pixels.

    Returns:
        The proposals, by falling objectness.
    """
    finite = boxes.isfinite().all(dim=2) & logits.isfinite()
    logits = logits.masked_fill(~finite, -math.inf)
    limits = size_tensor(image_sizes, boxes.device)[:, None]
    boxes = torch.where(finite[:, :, None], boxes, torch.zeros_like(boxes))
    boxes = torch.minimum(boxes.clamp(min=0), limits)
    big = ((boxes[..., 2:] - boxes[..., :2]) > min_box_size).all(dim=2)
    keep = nms_keep_mask(boxes, logits, levels[None].expand_as(logits), finite & big, nms_thresh)
    order, valid = best_of_batch(logits, keep, post_nms_topk)
    if not fixed_shapes(boxes.device):
        most = max(int(valid.sum(dim=1).max()), 1)
        order, valid = order[:, :most], valid[:, :most]
    chosen = logits.gather(1, order)
    return ProposalBatch(boxes=_take(boxes, order), valid=valid, image_sizes=list(image_sizes), logits=chosen)


def add_ground_truth_to_proposals(
    targets: Sequence[Instances], proposals: Sequence[Instances]
) -> ProposalBatch:
    """Append the ground truth's boxes to the proposals, so that training always has good ones.

    Args:
        targets: the ground truth of N images.
        proposals: the proposals of the same images.

    Returns:
        The proposals, with the ground truth's boxes last.
    """
    batch, truth = ProposalBatch.of(proposals), TargetBatch.of(targets)
    logits = batch.logits
    if logits is not None:
        logits = torch.cat([logits, logits.new_full(truth.valid.shape, _GT_LOGIT)], dim=1)
    return ProposalBatch(
        boxes=torch.cat([batch.boxes, truth.boxes.to(batch.boxes)], dim=1),
        valid=torch.cat([batch.valid, truth.valid], dim=1),
        image_sizes=batch.image_sizes,
        logits=logits,
        fixed=batch.fixed,
    )
