"""The losses on a region's class."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F

from cardamage.errors import ConfigValueError
from cardamage.utils.compiling import region
from cardamage.utils.events import get_event_storage

__all__ = [
    "count_regions",
    "federated_classes",
    "federated_weights",
    "_log_classification_stats",
    "sigmoid_loss",
    "softmax_loss",
]


def count_regions(gt_classes: torch.Tensor) -> torch.Tensor:
    """Return the 0-d number of regions that are not -1, at least 1."""
    return (gt_classes >= 0).sum().clamp(min=1)


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
    classes = torch.arange(logits.shape[1], device=logits.device)
    truth = (gt_classes[:, None] == classes).to(logits.dtype)
    loss = F.binary_cross_entropy_with_logits(logits, truth, reduction="none")
    used = (gt_classes >= 0)[:, None]
    if learned is not None:
        used = used & torch.isin(classes, learned)
    return torch.where(used, loss, torch.zeros_like(loss)).sum() / count_regions(gt_classes)


def federated_classes(
    gt_classes: torch.Tensor, at_least: int, num_classes: int, weight: torch.Tensor
) -> torch.Tensor:
    """Choose the classes that a batch learns (https://arxiv.org/abs/2103.07461, section 3).

    Args:
        gt_classes: (M,) int64 classes of the regions, ``num_classes`` for background.
        at_least: how many to choose, background included where it occurs.
        num_classes: number of classes without background.
        weight: (num_classes,) the weights that other classes are drawn with.

    Returns:
        int64 classes: those that occur, and so many others, drawn without replacement.
    """
    present = torch.unique(gt_classes)
    if len(present) >= at_least:
        return present
    odds = torch.zeros(num_classes + 1, device=present.device)
    odds[:num_classes] = weight.float()
    odds[present] = 0
    return torch.cat([present, torch.multinomial(odds, at_least - len(present), replacement=False)])


def federated_weights(
    get_weights: Callable[[], torch.Tensor] | None, num_classes: int, use_sigmoid_ce: bool
) -> torch.Tensor:
    """Get the (num_classes,) weights of a federated loss.

    Raises:
        ConfigValueError: none are given, not so many, or classes are scored against each other.
    """
    if not use_sigmoid_ce or get_weights is None:
        raise ConfigValueError(
            "MODEL.ROI_BOX_HEAD.USE_FED_LOSS needs USE_SIGMOID_CE True and weights of the classes"
        )
    weights = get_weights()
    if len(weights) != num_classes:
        raise ConfigValueError(
            f"the federated loss has weights of {len(weights)} classes, but MODEL.ROI_HEADS.NUM_CLASSES "
            f"is {num_classes}"
        )
    return weights


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
