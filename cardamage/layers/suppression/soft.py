"""Soft non-maximum suppression: overlapped boxes lose score instead of being dropped (Bodla et al., 2017)."""

from __future__ import annotations

from typing import Any

import torch

from ..kernels import support

__all__ = ["batched_soft_nms", "soft_nms_scores"]

METHODS = ("linear", "gaussian")

# Pairs of boxes held at a time; 2**25 float32 factors are 128 MiB.
_MAX_PAIRS = 2**25
# Looking whether all is done costs a wait on a GPU, so it happens only now and then.
_CHECK_PERIOD = 32
# The kernel keeps the boxes of a group in registers.
_MAX_KERNEL_BOXES = 8192


def soft_nms_scores(
    boxes: torch.Tensor,
    scores: torch.Tensor,
    valid: torch.Tensor,
    method: str = "gaussian",
    sigma: float = 0.5,
    iou_threshold: float = 0.5,
    score_threshold: float = 0.001,
    groups: torch.Tensor | None = None,
) -> torch.Tensor:
    """Rescore each row's boxes: the best one left is taken, the others lose by how much they overlap it.

    Args:
        boxes: (B, K, 4) x0, y0, x1, y1.
        scores: (B, K), at least 0; the arithmetic is of this dtype, at least float32.
        valid: (B, K) bool; other entries neither score nor suppress.
        method: "linear" multiplies by 1 - iou where iou >= ``iou_threshold``; "gaussian" by
            exp(-iou^2 / sigma).
        sigma: the width of the gaussian.
        iou_threshold: for "linear" only.
        score_threshold: a box whose score falls below this is dropped, and suppresses nothing.
        groups: (B, K) int64; boxes of different groups leave each other alone. None: one group a row.

    Returns:
        (B, K) the new scores, of the arithmetic's dtype; 0 for dropped and invalid boxes.

    Raises:
        ValueError: an unknown method, or a sigma that is not positive.
    """
    _check_method(method, sigma)
    dtype = torch.promote_types(scores.dtype, torch.float32)
    boxes, scores = boxes.to(dtype), scores.to(dtype)
    if scores.numel() == 0:
        return torch.zeros_like(scores)
    return torch.ops.cardamage.soft_nms_scores(
        boxes.detach(), scores.detach(), valid, method, sigma, iou_threshold, score_threshold, groups
    )


# An operator of its own, so that compilers and tensors without values take it as it is.
@torch.library.custom_op(
    "cardamage::soft_nms_scores",
    mutates_args=(),
    schema="(Tensor boxes, Tensor scores, Tensor valid, str method, float sigma, float iou_threshold, "
    "float score_threshold, Tensor? groups) -> Tensor",
)
def _soft_nms_scores(
    boxes: torch.Tensor,
    scores: torch.Tensor,
    valid: torch.Tensor,
    method: str,
    sigma: float,
    iou_threshold: float,
    score_threshold: float,
    groups: torch.Tensor | None,
) -> torch.Tensor:
    size = scores.shape[1]
    if groups is None and scores.dtype == torch.float32 and size <= _MAX_KERNEL_BOXES:
        limits = (sigma, iou_threshold, score_threshold)
        found = support.attempt(
            "soft suppression", scores.device, lambda: _launch(boxes, scores, valid, method, *limits)
        )
        if found is not None:
            return found
    result = torch.zeros_like(scores)
    rows = max(1, _MAX_PAIRS // (size * size))
    for start in range(0, len(scores), rows):
        part = slice(start, start + rows)
        factors = _decay(_pairwise_iou(boxes[part]), method, sigma, iou_threshold)
        if groups is not None:
            factors.masked_fill_(groups[part, :, None] != groups[part, None, :], 1.0)
        result[part] = _select(scores[part], valid[part], factors, score_threshold)
    return result


@_soft_nms_scores.register_fake
def _(boxes: torch.Tensor, scores: torch.Tensor, *rest: Any) -> torch.Tensor:
    return torch.empty_like(scores)


def _launch(
    boxes: torch.Tensor, scores: torch.Tensor, valid: torch.Tensor, method: str, *limits: float
) -> torch.Tensor:
    from ..kernels.soft_nms import launch_soft_nms

    return launch_soft_nms(boxes, scores, valid, method == "gaussian", *limits)


def batched_soft_nms(
    boxes: torch.Tensor,
    scores: torch.Tensor,
    idxs: torch.Tensor,
    method: str = "gaussian",
    sigma: float = 0.5,
    iou_threshold: float = 0.5,
    score_threshold: float = 0.001,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Rescore one image's boxes, each group by itself and all groups at once.

    Args:
        boxes: (N, 4).
        scores: (N,), at least 0.
        idxs: (N,) integers: the group of each box.
        method: see :func:`soft_nms_scores`, as the rest.
        sigma: the width of the gaussian.
        iou_threshold: for "linear" only.
        score_threshold: what falls below is dropped.

    Returns:
        int64 positions of the boxes that remain, by falling new score, and these scores.

    Raises:
        ValueError: an unknown method, or a sigma that is not positive.
    """
    _check_method(method, sigma)
    if len(boxes) == 0:
        return torch.empty(0, dtype=torch.int64, device=boxes.device), scores
    order = idxs.argsort(stable=True)
    counts = idxs[order].unique_consecutive(return_counts=True)[1]
    group_count, longest = len(counts), int(counts.max())
    row = torch.repeat_interleave(torch.arange(group_count, device=boxes.device), counts)
    column = torch.arange(len(order), device=boxes.device) - (counts.cumsum(0) - counts)[row]
    padded_boxes = boxes.new_zeros(group_count, longest, 4)
    padded_scores = scores.new_zeros(group_count, longest)
    valid = torch.zeros(group_count, longest, dtype=torch.bool, device=boxes.device)
    padded_boxes[row, column] = boxes[order]
    padded_scores[row, column] = scores[order]
    valid[row, column] = True
    new = soft_nms_scores(padded_boxes, padded_scores, valid, method, sigma, iou_threshold, score_threshold)
    rescored = new.new_zeros(len(order))
    rescored[order] = new[row, column]
    return _rank(rescored, score_threshold)


def _rank(scores: torch.Tensor, score_threshold: float) -> tuple[torch.Tensor, torch.Tensor]:
    ranked, keep = scores.sort(descending=True, stable=True)
    alive = (ranked > 0) & (ranked >= score_threshold)
    return keep[alive], ranked[alive]


def _check_method(method: str, sigma: float) -> None:
    if method not in METHODS:
        raise ValueError(f"There is no soft-NMS method '{method}': use one of {', '.join(METHODS)}.")
    if method == "gaussian" and not sigma > 0:
        raise ValueError(f"The sigma of gaussian soft-NMS must be above 0, got {sigma}.")


def _pairwise_iou(boxes: torch.Tensor) -> torch.Tensor:
    """Return the overlaps within each row of (B, K, 4), shape (B, K, K); 0 where two boxes don't meet."""
    low = torch.maximum(boxes[:, :, None, :2], boxes[:, None, :, :2])
    high = torch.minimum(boxes[:, :, None, 2:], boxes[:, None, :, 2:])
    sides = (high - low).clamp_(min=0)
    intersection = sides[..., 0] * sides[..., 1]
    area = (boxes[..., 2] - boxes[..., 0]) * (boxes[..., 3] - boxes[..., 1])
    union = area[:, :, None] + area[:, None, :] - intersection
    return torch.where(intersection > 0, intersection / union, 0.0)


def _decay(iou: torch.Tensor, method: str, sigma: float, iou_threshold: float) -> torch.Tensor:
    if method == "linear":
        return torch.where(iou >= iou_threshold, 1 - iou, 1.0)
    return torch.exp(-iou.square() / sigma)


def _select(
    scores: torch.Tensor, valid: torch.Tensor, factors: torch.Tensor, score_threshold: float
) -> torch.Tensor:
    """Take the best box of every row, decay the others, and so on; the rows advance together.

    A box taken after all that remain fell below the threshold can only decay others that did too, so
    rows that are done may go on without harm.
    """
    rows = torch.arange(len(scores), device=scores.device)
    taken = ~valid
    left = scores.masked_fill(taken, -1.0)
    result = torch.zeros_like(scores)
    for step in range(scores.shape[1]):
        best, index = left.max(dim=1)
        if step % _CHECK_PERIOD == 0 and not bool((best >= max(score_threshold, 0.0)).any()):
            break
        result[rows, index] = torch.where(taken[rows, index], result[rows, index], best)
        taken[rows, index] = True
        left = (left * factors[rows, index]).masked_fill_(taken, -1.0)
    return torch.where(result >= score_threshold, result, 0.0)
