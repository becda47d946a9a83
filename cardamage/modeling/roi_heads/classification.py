"""How many regions are classified right, for the log."""

from __future__ import annotations

import torch

from cardamage.utils.compiling import region
from cardamage.utils.events import get_event_storage

__all__ = ["_log_classification_stats"]


def _log_classification_stats(
    pred_logits: torch.Tensor, gt_classes: torch.Tensor, prefix: str = "fast_rcnn"
) -> None:
    """Log how many regions are classified right, of all and of the foreground.

    Args:
        pred_logits: (M, K + 1) scores, background last.
        gt_classes: (M,) int64, K for background, -1 for regions that don't count.
        prefix: what goes before the scalars' names.
    """
    if len(gt_classes) == 0:
        return
    accuracy, of_foreground, missed = _classification_shares(pred_logits, gt_classes)
    storage = get_event_storage()
    storage.put_scalar(f"{prefix}/cls_accuracy", accuracy)
    storage.put_scalar(f"{prefix}/fg_cls_accuracy", of_foreground)
    storage.put_scalar(f"{prefix}/false_negative", missed)


@region
def _classification_shares(
    pred_logits: torch.Tensor, gt_classes: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return the 0-d shares of right regions, of right foreground, and of foreground taken for background."""
    background = pred_logits.shape[1] - 1
    predicted = pred_logits.argmax(dim=1)
    counted = gt_classes >= 0
    foreground = counted & (gt_classes < background)
    right = (predicted == gt_classes) & counted
    missed = foreground & (predicted == background)
    num_foreground = foreground.sum().clamp(min=1)
    accuracy = right.sum() / counted.sum().clamp(min=1)
    return accuracy, (right & foreground).sum() / num_foreground, missed.sum() / num_foreground
