"""The losses on a region's class that a config chooses, and how each one's scores are read."""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from cardamage.errors import ConfigValueError
from cardamage.utils.compiling import region

from .class_weights import ClassWeights
from .classification import count_regions, one_hot

__all__ = ["ClassLoss", "SigmoidCrossEntropy", "SoftmaxCrossEntropy", "bias_of", "sigmoid_probabilities"]


class ClassLoss(nn.Module):
    """A loss on (M, K + 1) scores of regions, background last, and the probabilities they stand for.

    Subclasses compute the rows' losses and say what their scores mean. Rows of class -1 only fill a fixed
    shape and add nothing.

    Attributes:
        class_weights: (K + 1,) float32 factors of the rows by their class; None where all count the same.
        background_weight: the factor of background's rows.
        needs_quality: whether rows are judged by the overlap of the boxes predicted for them.
    """

    class_weights: torch.Tensor | None
    background_weight = 1.0
    needs_quality = False

    def __init__(self, num_classes: int, weights: ClassWeights | None = None) -> None:
        """Set what is common.

        Args:
            num_classes: number of classes without background.
            weights: how much each class counts; None for all the same.
        """
        super().__init__()
        self.num_classes = num_classes
        self._source = weights
        self._known = weights is None or weights.values is not None
        self.register_buffer("class_weights", None if weights is None else weights.table(num_classes))

    def forward(
        self, scores: torch.Tensor, gt_classes: torch.Tensor, quality: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Compute the loss of a step.

        Args:
            scores: (M, K + 1), background last.
            gt_classes: (M,) int64, K for background, -1 for rows that don't count.
            quality: (M,) overlaps of the predicted boxes with the truth, where ``needs_quality``.

        Returns:
            A 0-d tensor.

        Raises:
            ConfigValueError: classes are to be weighted by their number, which is not known.
        """
        if not self._known:
            assert self._source is not None
            raise ConfigValueError(self._source.missing())
        return self._mean(scores, gt_classes, quality)

    @region
    def _mean(
        self, scores: torch.Tensor, gt_classes: torch.Tensor, quality: torch.Tensor | None
    ) -> torch.Tensor:
        rows = self.rows(scores, gt_classes, quality)
        if self.class_weights is not None:
            rows = rows * self.class_weights[gt_classes.clamp(min=0)].to(rows.dtype)
        if self.background_weight != 1:
            rows = torch.where(gt_classes == self.num_classes, rows * self.background_weight, rows)
        return torch.where(gt_classes >= 0, rows, torch.zeros_like(rows)).sum() / self.divisor(gt_classes)

    def divisor(self, gt_classes: torch.Tensor) -> torch.Tensor:
        """Return the 0-d number that the rows' sum is divided by: of all regions."""
        return count_regions(gt_classes)

    def rows(
        self, scores: torch.Tensor, gt_classes: torch.Tensor, quality: torch.Tensor | None
    ) -> torch.Tensor:
        """Return the (M,) losses of the rows; anything where a row's class is -1."""
        raise NotImplementedError

    def probabilities(self, scores: torch.Tensor) -> torch.Tensor:
        """Return the (M, K + 1) probabilities of (M, K + 1) scores."""
        return F.softmax(scores, dim=-1)

    def init_bias(self, bias: torch.Tensor) -> None:
        """Set the (K + 1,) biases of the layer that makes the scores; by default they stay."""

    def _load_from_state_dict(self, state_dict: Any, prefix: str, *args: Any) -> None:
        # The training data's own counts go before those of a file, which are for who has no data.
        name = f"{prefix}class_weights"
        if self.class_weights is not None and name in state_dict:
            if self._source is not None and self._source.values is not None:
                state_dict[name] = self.class_weights
            self._known = True
        super()._load_from_state_dict(state_dict, prefix, *args)


class SoftmaxCrossEntropy(ClassLoss):
    """The cross entropy of the classes against each other, with smoothed labels.

    Smoothing (Szegedy et al., https://arxiv.org/abs/1512.00567) takes a share of every row's truth and
    spreads it evenly over the classes and background.
    """

    def __init__(self, num_classes: int, weights: ClassWeights | None = None, smoothing: float = 0.0) -> None:
        super().__init__(num_classes, weights)
        self.smoothing = smoothing

    def rows(
        self, scores: torch.Tensor, gt_classes: torch.Tensor, quality: torch.Tensor | None
    ) -> torch.Tensor:
        """See :meth:`ClassLoss.rows`."""
        logs = F.log_softmax(scores, dim=-1)
        right = logs.gather(1, gt_classes.clamp(min=0)[:, None])[:, 0]
        return -(1 - self.smoothing) * right - self.smoothing * logs.mean(dim=1)


class SigmoidCrossEntropy(ClassLoss):
    """The sum of the binary cross entropies of every class on its own, with smoothed labels as above."""

    def __init__(self, num_classes: int, weights: ClassWeights | None = None, smoothing: float = 0.0) -> None:
        super().__init__(num_classes, weights)
        self.smoothing = smoothing

    def rows(
        self, scores: torch.Tensor, gt_classes: torch.Tensor, quality: torch.Tensor | None
    ) -> torch.Tensor:
        """See :meth:`ClassLoss.rows`."""
        truth = one_hot(gt_classes, scores[:, :-1])
        truth = truth * (1 - self.smoothing) + self.smoothing / scores.shape[1]
        return F.binary_cross_entropy_with_logits(scores[:, :-1], truth, reduction="none").sum(dim=1)

    def probabilities(self, scores: torch.Tensor) -> torch.Tensor:
        """See :meth:`ClassLoss.probabilities`."""
        return sigmoid_probabilities(scores)


def sigmoid_probabilities(scores: torch.Tensor) -> torch.Tensor:
    """Return (M, K + 1) probabilities of classes scored on their own, and of none of them, last."""
    probs = scores[:, :-1].sigmoid()
    return torch.cat([probs, 1 - probs.amax(dim=1, keepdim=True)], dim=1)


def bias_of(probability: float) -> float:
    """Return the score whose sigmoid is a probability."""
    return math.log(probability / (1 - probability))
