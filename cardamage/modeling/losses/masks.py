"""How wrong the masks of regions are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F

__all__ = ["MaskLoss", "outline"]


@dataclass(frozen=True)
class MaskLoss:
    """A loss on the pixels of masks.

    Attributes:
        kind: ``bce``, the mean binary cross entropy of the pixels; ``dice``, one minus the overlap of what is
            predicted and what is there, whatever its size (Milletari et al., V-Net,
            https://arxiv.org/abs/1606.04797); ``bce_dice``, their sum.
        boundary_weight: how much more pixels on both sides of the true outline count; 0 for not at all.
    """

    kind: str = "bce"
    boundary_weight: float = 0.0

    @classmethod
    def from_config(cls, cfg: Any) -> MaskLoss:
        """Read ``MODEL.ROI_MASK_HEAD``."""
        node = cfg.MODEL.ROI_MASK_HEAD
        return cls(node.LOSS, node.BOUNDARY_WEIGHT)

    def __call__(self, logits: torch.Tensor, truth: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
        """Compute the loss of a step.

        Args:
            logits: (M, h, w) scores.
            truth: (M, h, w) bool.
            valid: (M,) bool; other rows add nothing.

        Returns:
            A 0-d tensor, 0 where no row is valid.
        """
        weights = None
        if self.boundary_weight > 0:
            weights = 1 + self.boundary_weight * outline(truth).to(logits.dtype)
        if self.kind == "bce":
            return _cross_entropy(logits, truth, valid, weights)
        if self.kind == "dice":
            return _dice(logits, truth, valid, weights)
        return _cross_entropy(logits, truth, valid, weights) + _dice(logits, truth, valid, weights)


def _cross_entropy(
    logits: torch.Tensor, truth: torch.Tensor, valid: torch.Tensor, weights: torch.Tensor | None
) -> torch.Tensor:
    """Return the weighted mean of the pixels' losses."""
    loss = F.binary_cross_entropy_with_logits(logits, truth.to(logits.dtype), reduction="none")
    used = valid[:, None, None]
    if weights is None:
        total = valid.sum() * truth.shape[1] * truth.shape[2]
    else:
        loss = loss * weights
        total = torch.where(used, weights, torch.zeros_like(weights)).sum()
    return torch.where(used, loss, torch.zeros_like(loss)).sum() / total.clamp(min=1)


def _dice(
    logits: torch.Tensor, truth: torch.Tensor, valid: torch.Tensor, weights: torch.Tensor | None
) -> torch.Tensor:
    """Return the mean of the valid rows' losses; the 1 lets an empty mask be right."""
    probs, there = logits.sigmoid(), truth.to(logits.dtype)
    both, areas = probs * there, probs.square() + there
    if weights is not None:
        both, areas = both * weights, areas * weights
    loss = 1 - (2 * both.sum(dim=(1, 2)) + 1) / (areas.sum(dim=(1, 2)) + 1)
    return torch.where(valid, loss, torch.zeros_like(loss)).sum() / valid.sum().clamp(min=1)


@torch.no_grad()
def outline(masks: torch.Tensor) -> torch.Tensor:
    """Find the pixels on both sides of masks' outlines.

    Where a mask is cut off by its region's border there is no outline.

    Args:
        masks: (M, h, w) bool.

    Returns:
        (M, h, w) bool: pixels that have one of the other kind among their eight neighbors.
    """
    there = masks[:, None].float()
    # Wherever something is near and something is missing near.
    near = F.max_pool2d(torch.cat([there, 1 - there], dim=1), kernel_size=3, stride=1, padding=1)
    return (near > 0.5).all(dim=1)
