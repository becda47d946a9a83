"""Non-maximum suppression of one image's boxes and of a padded batch."""

from __future__ import annotations

import torch
from torchvision.ops import batched_nms as torchvision_batched_nms
from torchvision.ops import nms

__all__ = ["batched_nms", "nms", "nms_keep_mask"]


def batched_nms(
    boxes: torch.Tensor, scores: torch.Tensor, idxs: torch.Tensor, iou_threshold: float
) -> torch.Tensor:
    """Drop boxes that overlap a higher-scored one of their own group.

    Args:
        boxes: (N, 4), any float dtype; compared in float32, since half precision can't tell pixels apart.
        scores: (N,), any float dtype; ranked in float32.
        idxs: (N,) integers: the group of each box, its class or feature level.
        iou_threshold: the overlap above which the lower-scored box goes.

    Returns:
        int64 positions of the kept boxes, by falling score.
    """
    return torchvision_batched_nms(boxes.float(), scores.float(), idxs, iou_threshold)


def nms_keep_mask(
    boxes: torch.Tensor,
    scores: torch.Tensor,
    groups: torch.Tensor,
    valid: torch.Tensor,
    iou_threshold: float,
) -> torch.Tensor:
    """Tell which boxes of a padded batch survive among those of their own row and group.

    Row by row the result is that of :func:`batched_nms` on the row's valid boxes.

    Args:
        boxes: (B, K, 4) x0, y0, x1, y1.
        scores: (B, K).
        groups: (B, K) int64, at least 0.
        valid: (B, K) bool; other entries neither survive nor suppress.
        iou_threshold: the overlap above which the lower-scored box goes.

    Returns:
        bool (B, K).
    """
    keep = torch.zeros_like(valid)
    for row, (row_boxes, row_scores, row_groups, row_valid) in enumerate(
        zip(boxes, scores, groups, valid, strict=True)
    ):
        index = row_valid.nonzero().squeeze(1)
        kept = batched_nms(row_boxes[index], row_scores[index], row_groups[index], iou_threshold)
        keep[row, index[kept]] = True
    return keep
