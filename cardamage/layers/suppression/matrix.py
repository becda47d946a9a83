"""Suppression without an order of taking: every box is judged by all that come before it, at once."""

from __future__ import annotations

import torch

from .greedy import float32_threshold, greedy_keep
from .overlaps import OverlapBlock, earlier_overlaps

__all__ = ["cluster_nms_scores", "fast_keep", "matrix_nms_scores"]


def fast_keep(boxes: torch.Tensor, alive: torch.Tensor, iou_threshold: float) -> torch.Tensor:
    """Drop every box that overlaps an earlier one too much, even one that is dropped itself.

    Fast NMS (Bolya et al., YOLACT, ICCV 2019, https://arxiv.org/abs/1904.02689): it drops somewhat more than
    hard NMS.

    Args:
        boxes: (..., K, 4) x0, y0, x1, y1 of groups of K boxes, the best first; compared in float32.
        alive: (..., K) bool; other boxes neither stay nor suppress.
        iou_threshold: the overlap above which the later box goes, from 0.

    Returns:
        bool (..., K).
    """
    flat, used = _flat(boxes, alive)
    limit = float32_threshold(iou_threshold)
    keep = used.clone()
    for block in earlier_overlaps(flat, used):
        keep[block.groups, block.later] &= block.values.amax(dim=2) <= limit
    return keep.view(alive.shape)


def matrix_nms_scores(
    boxes: torch.Tensor,
    scores: torch.Tensor,
    alive: torch.Tensor,
    method: str = "gaussian",
    sigma: float = 0.5,
) -> torch.Tensor:
    """Lower every score by the strongest overlap with an earlier box; overlapped boxes say less.

    Matrix NMS (Wang et al., SOLOv2, NeurIPS 2020, https://arxiv.org/abs/2003.10152): the score of box j
    is multiplied by the least f(iou of i and j) / f(the greatest iou of i with a box before it), of all i
    before j.

    Args:
        boxes: (..., K, 4) x0, y0, x1, y1 of groups of K boxes, the best first; compared in float32.
        scores: (..., K).
        alive: (..., K) bool; other boxes count for nothing.
        method: "linear" for f(iou) = 1 - iou, "gaussian" for exp(-iou^2 / sigma); the paper's sigma of 2 is a
            divisor of 0.5 here.
        sigma: the width of the gaussian.

    Returns:
        (..., K) the new scores, of the scores' dtype; 0 for boxes that don't count.

    Raises:
        ValueError: an unknown method, or a sigma that is not positive.
    """
    if method not in ("linear", "gaussian") or not sigma > 0:
        raise ValueError(
            f"Matrix NMS is linear or gaussian, with a sigma above 0, and not {method!r} with {sigma}."
        )
    flat, used = _flat(boxes, alive)
    nearest = flat.new_zeros(used.shape)
    factors = flat.new_ones(used.shape)
    for block in earlier_overlaps(flat, used):
        nearest[block.groups, block.later] = block.values.amax(dim=2).clamp_(min=0)
        before = nearest[block.groups, None, : block.later.stop]
        least = _gaussian(block, before, sigma) if method == "gaussian" else _linear(block, before)
        factors[block.groups, block.later] = least
    return torch.where(alive, scores * factors.view(alive.shape), 0)


def cluster_nms_scores(
    boxes: torch.Tensor,
    scores: torch.Tensor,
    alive: torch.Tensor,
    iou_threshold: float = 0.5,
    sigma: float = 0.5,
) -> torch.Tensor:
    """Lower every score by the overlaps with the boxes that hard NMS keeps.

    Cluster-NMS with score penalty (Zheng et al., https://arxiv.org/abs/2005.03572): the score of box j
    multiplied by exp(-iou^2 / sigma) for each kept box before it.

    Args:
        boxes: (..., K, 4) x0, y0, x1, y1 of groups of K boxes, the best first; compared in float32.
        scores: (..., K).
        alive: (..., K) bool; other boxes count for nothing.
        iou_threshold: of the hard NMS, from 0.
        sigma: the width of the gaussian.

    Returns:
        (..., K) the new scores, of the scores' dtype; 0 for boxes that don't count.

    Raises:
        ValueError: a sigma that is not positive.
    """
    if not sigma > 0:
        raise ValueError(f"The sigma of Cluster-NMS must be above 0, got {sigma}.")
    flat, used = _flat(boxes, alive)
    kept = greedy_keep(flat, used, iou_threshold, rounds=True).to(flat.dtype)
    # So that what a group is padded with does not change the sum's last bit; Apple's GPUs have no float64.
    wide = torch.float32 if flat.device.type == "mps" else torch.float64
    penalty = torch.zeros_like(kept)
    for block in earlier_overlaps(flat, used):
        squares = block.values.clamp_(min=0).square_()
        weights = kept[block.groups, None, : block.later.stop]
        penalty[block.groups, block.later] = squares.mul_(weights).sum(dim=2, dtype=wide).to(flat.dtype)
    factors = (penalty / -sigma).exp_().view(alive.shape)
    return torch.where(alive, scores * factors, 0)


def _flat(boxes: torch.Tensor, alive: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    return boxes.detach().float().flatten(0, -3), alive.flatten(0, -2)


def _gaussian(block: OverlapBlock, before: torch.Tensor, sigma: float) -> torch.Tensor:
    # The least quotient of exponentials is that of the greatest difference. The first box has none before it.
    greatest = block.values.clamp_(min=0).square_().sub_(before.square()).amax(dim=2)
    return greatest.div_(-sigma).exp_()


def _linear(block: OverlapBlock, before: torch.Tensor) -> torch.Tensor:
    room = 1 - before
    # A box that an earlier one covers wholly says nothing that the earlier one doesn't.
    covered = room <= 0
    least = (1 - block.values).div_(room.masked_fill(covered, 1)).masked_fill_(covered, torch.inf).amin(dim=2)
    return least.clamp_(max=1)
