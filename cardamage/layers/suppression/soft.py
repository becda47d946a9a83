"""Soft non-maximum suppression: overlapped boxes lose score instead of being dropped (Bodla et al., 2017)."""

from __future__ import annotations

from typing import Any

import torch

from ..kernels import support
from .fading import fade
from .grouping import arrange

__all__ = ["batched_soft_nms", "soft_nms_scores"]

METHODS = ("linear", "gaussian")

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
        boxes.detach(), scores.detach(), valid, method, sigma, iou_threshold, score_threshold
    )


# An operator of its own, so that compilers and tensors without values take it as it is.
@torch.library.custom_op(
    "cardamage::soft_nms_scores",
    mutates_args=(),
    schema="(Tensor boxes, Tensor scores, Tensor valid, str method, float sigma, float iou_threshold, "
    "float score_threshold) -> Tensor",
)
def _soft_nms_scores(
    boxes: torch.Tensor,
    scores: torch.Tensor,
    valid: torch.Tensor,
    method: str,
    sigma: float,
    iou_threshold: float,
    score_threshold: float,
) -> torch.Tensor:
    limits = (sigma, iou_threshold, score_threshold)
    if scores.dtype == torch.float32 and scores.shape[1] <= _MAX_KERNEL_BOXES:
        found = support.attempt(
            "soft suppression", scores.device, lambda: _launch(boxes, scores, valid, method, *limits)
        )
        if found is not None:
            return found
    return fade(boxes, scores, valid, method == "gaussian", *limits)


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
    groups = arrange(scores, idxs)
    padded = groups.pad(boxes), groups.pad(scores), groups.used()
    new = soft_nms_scores(*padded, method, sigma, iou_threshold, score_threshold)
    return _rank(groups.unpad(new), score_threshold)


def _rank(scores: torch.Tensor, score_threshold: float) -> tuple[torch.Tensor, torch.Tensor]:
    ranked, keep = scores.sort(descending=True, stable=True)
    alive = (ranked > 0) & (ranked >= score_threshold)
    return keep[alive], ranked[alive]


def _check_method(method: str, sigma: float) -> None:
    if method not in METHODS:
        raise ValueError(f"There is no soft-NMS method '{method}': use one of {', '.join(METHODS)}.")
    if method == "gaussian" and not sigma > 0:
        raise ValueError(f"The sigma of gaussian soft-NMS must be above 0, got {sigma}.")
