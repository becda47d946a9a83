"""How wrong the scores of regions are, as a number to lower."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from cardamage.utils.compiling import region

__all__ = ["count_regions", "one_hot", "sigmoid_loss", "softmax_loss"]


def count_regions(gt_classes: torch.Tensor) -> torch.Tensor:
    """Return the 0-d number of regions that are not -1, at least 1."""
    return (gt_classes >= 0).sum().clamp(min=1)


def one_hot(classes: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
    """Return 1 where a column of (M, K) scores is of the row's class, else 0; in the scores' dtype.

    Args:
        classes: (M,) int64; rows of other classes than 0 to K - 1 have no 1.
        scores: (M, K).
    """
    columns = torch.arange(scores.shape[1], device=scores.device)
    return (classes[:, None] == columns).to(scores.dtype)


@region
def softmax_loss(scores: torch.Tensor, gt_classes: torch.Tensor) -> torch.Tensor:
    """Return the mean cross entropy of the classes against each other.

    Args:
        scores: (M, K + 1), background last.
        gt_classes: (M,) int64, K for background, -1 for regions that don't count.
    """
    loss = F.cross_entropy(scores, gt_classes, reduction="sum", ignore_index=-1)
    return loss / count_regions(gt_classes)


def sigmoid_loss(
    scores: torch.Tensor, gt_classes: torch.Tensor, learned: torch.Tensor | None = None
) -> torch.Tensor:
    """Return the binary cross entropies of every class on its own, summed, their mean over the regions.

    Args:
        scores: (M, K + 1); background's, the last, are not used.
        gt_classes: (M,) int64, K for background, -1 for regions that don't count.
        learned: int64 classes that count; by default all.
    """
    logits = scores[:, :-1]
    loss = F.binary_cross_entropy_with_logits(logits, one_hot(gt_classes, logits), reduction="none")
    used = (gt_classes >= 0)[:, None]
    if learned is not None:
        used = used & torch.isin(torch.arange(logits.shape[1], device=logits.device), learned)
    return torch.where(used, loss, torch.zeros_like(loss)).sum() / count_regions(gt_classes)
