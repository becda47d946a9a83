"""How much each loss counts."""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["weights_by_loss"]


def weights_by_loss(weight: float | Mapping[str, float], *names: str) -> dict[str, float]:
    """Return the factors of losses from what parts of the model take as ``loss_weight``.

    Args:
        weight: one factor for all of the losses, or factors by name; a loss left out there counts fully.
        names: the losses.
    """
    return dict.fromkeys(names, weight) if isinstance(weight, (int, float)) else dict(weight)
