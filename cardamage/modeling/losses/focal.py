"""Losses that learn little of what is clear already."""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F

from .class_loss import ClassLoss, bias_of, sigmoid_probabilities
from .class_weights import ClassWeights
from .classification import one_hot

__all__ = [
    "QualityFocal",
    "SigmoidFocal",
    "SoftmaxFocal",
    "sigmoid_focal",
    "sigmoid_quality_focal",
    "softmax_focal",
]

# Below, a difference of truth and probability has no gradient: a root's would be infinite at 0.
_TINY = 1e-12


def sigmoid_focal(logits: torch.Tensor, truth: torch.Tensor, gamma: float, alpha: float) -> torch.Tensor:
    """Return the focal loss of independent probabilities (Lin et al., https://arxiv.org/abs/1708.02002).

    Args:
        logits: (...) scores.
        truth: (...) 0 or 1.
        gamma: how much less a clear case counts; 0 for cross entropy.
        alpha: the weight of ones, and ``1 - alpha`` of zeros; negative for none.

    Returns:
        (...) losses.
    """
    # In logarithms, so that no power of 0 arises whose gradient is infinite.
    signed = torch.where(truth > 0.5, logits, -logits)
    loss = -F.logsigmoid(signed) * torch.exp(gamma * F.logsigmoid(-signed))
    return loss if alpha < 0 else loss * (alpha * truth + (1 - alpha) * (1 - truth))


def softmax_focal(scores: torch.Tensor, classes: torch.Tensor, gamma: float, alpha: float) -> torch.Tensor:
    """Return the focal loss of probabilities that add up to 1.

    Args:
        scores: (M, K + 1), background last.
        classes: (M,) int64, K for background.
        gamma: as for :func:`sigmoid_focal`.
        alpha: the weight of objects, and ``1 - alpha`` of background; negative for none.

    Returns:
        (M,) losses.
    """
    logs = F.log_softmax(scores, dim=-1)
    chosen = torch.arange(scores.shape[1], device=scores.device) == classes[:, None]
    right = logs.gather(1, classes[:, None])[:, 0]
    wrong = torch.logsumexp(logs.masked_fill(chosen, -math.inf), dim=1)
    loss = -right * torch.exp(gamma * wrong)
    if alpha < 0:
        return loss
    background = (classes == scores.shape[1] - 1).to(loss.dtype)
    return loss * (alpha + (1 - 2 * alpha) * background)


def sigmoid_quality_focal(logits: torch.Tensor, truth: torch.Tensor, beta: float) -> torch.Tensor:
    """Return the quality focal loss (Li et al., https://arxiv.org/abs/2006.04388).

    Args:
        logits: (...) scores.
        truth: (...) between 0 and 1.
        beta: how much less a score near the truth counts; 0 for cross entropy.

    Returns:
        (...) losses.
    """
    apart = (truth - logits.sigmoid()).square().clamp(min=_TINY).pow(beta / 2)
    return F.binary_cross_entropy_with_logits(logits, truth, reduction="none") * apart


class _Focal(ClassLoss):
    """What the focal losses share: they are told by foreground region, and begin with nothing found."""

    def __init__(
        self,
        num_classes: int,
        weights: ClassWeights | None = None,
        gamma: float = 2.0,
        alpha: float = 0.25,
        prior: float = 0.01,
    ) -> None:
        """Set the loss.

        Args:
            num_classes: number of classes without background.
            weights: how much each class counts.
            gamma: how much less a clear case counts.
            alpha: the weight of what is there, and ``1 - alpha`` of what isn't; negative for none.
            prior: the probability of an object that training starts with.
        """
        super().__init__(num_classes, weights)
        self.gamma, self.alpha, self.prior = gamma, alpha, prior

    def divisor(self, gt_classes: torch.Tensor) -> torch.Tensor:
        """Return the 0-d number of foreground regions, at least 1: the others' losses nearly vanish."""
        return ((gt_classes >= 0) & (gt_classes < self.num_classes)).sum().clamp(min=1)


class SoftmaxFocal(_Focal):
    """The focal loss of classes against each other."""

    def rows(self, scores: torch.Tensor, gt_classes: torch.Tensor, quality: Any) -> torch.Tensor:
        """See :meth:`ClassLoss.rows`."""
        return softmax_focal(scores, gt_classes.clamp(min=0), self.gamma, self.alpha)

    @torch.no_grad()
    def init_bias(self, bias: torch.Tensor) -> None:
        """Let all classes together have the prior probability."""
        bias[-1] = math.log(self.num_classes) - bias_of(self.prior)


class SigmoidFocal(_Focal):
    """The focal loss of every class on its own."""

    def rows(self, scores: torch.Tensor, gt_classes: torch.Tensor, quality: Any) -> torch.Tensor:
        """See :meth:`ClassLoss.rows`."""
        logits = scores[:, :-1]
        return sigmoid_focal(logits, one_hot(gt_classes, logits), self.gamma, self.alpha).sum(dim=1)

    def probabilities(self, scores: torch.Tensor) -> torch.Tensor:
        """See :meth:`ClassLoss.probabilities`."""
        return sigmoid_probabilities(scores)

    @torch.no_grad()
    def init_bias(self, bias: torch.Tensor) -> None:
        """Let each class have the prior probability."""
        bias[:-1] = bias_of(self.prior)


class QualityFocal(SigmoidFocal):
    """The quality focal loss: what is learned of an object's class is how well its box is told."""

    needs_quality = True

    def rows(self, scores: torch.Tensor, gt_classes: torch.Tensor, quality: Any) -> torch.Tensor:
        """See :meth:`ClassLoss.rows`."""
        logits = scores[:, :-1]
        truth = one_hot(gt_classes, logits) * quality.to(logits.dtype)[:, None]
        return sigmoid_quality_focal(logits, truth, self.gamma).sum(dim=1)
