"""Learning of every batch only some classes (https://arxiv.org/abs/2103.07461)."""

from __future__ import annotations

from collections.abc import Callable

import torch

from cardamage.errors import ConfigValueError

__all__ = ["federated_classes", "federated_weights"]


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
