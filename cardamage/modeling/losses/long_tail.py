"""Losses that learn on the way which classes are rare, and spare these."""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F

from cardamage.utils import comm

from .class_loss import ClassLoss, bias_of
from .classification import one_hot

__all__ = ["Equalization", "Seesaw", "seesaw"]

# A true class less likely than this is raised no further.
_LEAST = math.log(0.01)
# The ratio of gradients before there are any: no class is spared.
_BALANCED = 100.0


def seesaw(
    scores: torch.Tensor, classes: torch.Tensor, seen: torch.Tensor, p: float, q: float
) -> torch.Tensor:
    """Return the cross entropy in which rare classes are punished less for the objects of others.

    Of Wang et al., Seesaw Loss (https://arxiv.org/abs/2008.10032): the score of a class rarer than the true
    one is lowered in the softmax (by ``p``), that of one taken for likelier than it raised (by ``q``).

    Args:
        scores: (M, K), without background.
        classes: (M,) int64, 0 to K - 1.
        seen: (K,) how many objects of each class there were.
        p: how much rarity counts.
        q: how much mistakes count.

    Returns:
        (M,) losses.
    """
    own = classes[:, None]
    with torch.no_grad():
        logs = F.log_softmax(scores, dim=1)
        mistakes = (logs - logs.gather(1, own).clamp(min=_LEAST)).clamp(min=0)
        numbers = seen.clamp(min=1).to(scores.dtype).log()
        rarity = (numbers - numbers[classes][:, None]).clamp(max=0)
    return -F.log_softmax(scores + p * rarity + q * mistakes, dim=1).gather(1, own)[:, 0]


class _Observing(ClassLoss):
    """What the losses share that keep account of the classes, over all processes and with the weights."""

    account: torch.Tensor

    def forward(
        self, scores: torch.Tensor, gt_classes: torch.Tensor, quality: torch.Tensor | None = None
    ) -> torch.Tensor:
        """See :meth:`ClassLoss.forward`; in training the account is kept."""
        if self.training:
            self._before(gt_classes)
        loss = super().forward(scores, gt_classes, quality)
        if self.training:
            self._after(scores.detach(), gt_classes)
        return loss

    def _before(self, gt_classes: torch.Tensor) -> None:
        """Enter what a step's loss is to know already."""

    def _after(self, scores: torch.Tensor, gt_classes: torch.Tensor) -> None:
        """Enter what the next step's loss is to know."""

    def _enter(self, numbers: torch.Tensor) -> None:
        if comm.get_world_size() > 1:
            dist.all_reduce(numbers)
        self.account.add_(numbers)


class Seesaw(_Observing):
    """The seesaw loss of the classes against each other, and whether there is an object, by a sigmoid.

    Attributes:
        account: (K,) int64 objects of each class that were learned of.
    """

    def __init__(self, num_classes: int, p: float = 0.8, q: float = 2.0) -> None:
        """Set the loss; for the exponents see :func:`seesaw`."""
        super().__init__(num_classes)
        self.p, self.q = p, q
        self.register_buffer("account", torch.zeros(num_classes, dtype=torch.int64))

    def _before(self, gt_classes: torch.Tensor) -> None:
        self._enter(one_hot(gt_classes, self.account[None]).sum(dim=0))

    def rows(self, scores: torch.Tensor, gt_classes: torch.Tensor, quality: Any) -> torch.Tensor:
        """See :meth:`ClassLoss.rows`."""
        nothing = (gt_classes == self.num_classes).to(scores.dtype)
        loss = F.binary_cross_entropy_with_logits(scores[:, -1], nothing, reduction="none")
        classes = gt_classes.clamp(0, self.num_classes - 1)
        told_apart = seesaw(scores[:, :-1], classes, self.account, self.p, self.q)
        return loss + told_apart * (1 - nothing)

    def probabilities(self, scores: torch.Tensor) -> torch.Tensor:
        """See :meth:`ClassLoss.probabilities`; each row adds up to 1."""
        nothing = scores[:, -1:].sigmoid()
        return torch.cat([F.softmax(scores[:, :-1], dim=1) * (1 - nothing), nothing], dim=1)


class Equalization(_Observing):
    """The equalization loss v2 (Tan et al., https://arxiv.org/abs/2012.08548).

    Every class, and background, is scored on its own. A class whose objects have pushed its scores up less
    than the objects of others have pushed them down, in all of the training so far, is pushed down less from
    then on, and up more.

    Attributes:
        account: (2, K) float32 sums of the gradients that pushed up, and down.
    """

    def __init__(
        self, num_classes: int, gamma: float = 12.0, mu: float = 0.8, alpha: float = 4.0, prior: float = 0.01
    ) -> None:
        """Set the loss.

        Args:
            num_classes: number of classes without background.
            gamma: how sharply a class begins to be spared.
            mu: the ratio of the gradients at which it half is.
            alpha: how much more a class that is spared is pushed up.
            prior: the probability of a class that training starts with.
        """
        super().__init__(num_classes)
        self.gamma, self.mu, self.alpha, self.prior = gamma, mu, alpha, prior
        self.register_buffer("account", torch.zeros(2, num_classes))

    def _factors(self, truth: torch.Tensor) -> torch.Tensor:
        """Return the (M, K + 1) factors of the gradients; that of background is 1."""
        up, down = self.account.to(truth.dtype)
        ratio = torch.where(down > 0, up / down.clamp(min=1e-10), torch.full_like(down, _BALANCED))
        spared = F.pad(torch.sigmoid(self.gamma * (ratio - self.mu)), (0, 1), value=1.0)
        return truth * (1 + self.alpha * (1 - spared)) + (1 - truth) * spared

    def rows(self, scores: torch.Tensor, gt_classes: torch.Tensor, quality: Any) -> torch.Tensor:
        """See :meth:`ClassLoss.rows`."""
        truth = one_hot(gt_classes, scores)
        loss = F.binary_cross_entropy_with_logits(scores, truth, reduction="none")
        return (loss * self._factors(truth)).sum(dim=1)

    def _after(self, scores: torch.Tensor, gt_classes: torch.Tensor) -> None:
        truth = one_hot(gt_classes, scores)
        pushes = (scores.sigmoid() - truth).abs() * self._factors(truth) * (gt_classes >= 0)[:, None]
        sums = torch.stack([(pushes * truth).sum(dim=0), (pushes * (1 - truth)).sum(dim=0)])
        self._enter(sums[:, :-1].to(self.account.dtype))

    def probabilities(self, scores: torch.Tensor) -> torch.Tensor:
        """See :meth:`ClassLoss.probabilities`: a class's and that there is an object at all."""
        nothing = scores[:, -1:].sigmoid()
        return torch.cat([scores[:, :-1].sigmoid() * (1 - nothing), nothing], dim=1)

    @torch.no_grad()
    def init_bias(self, bias: torch.Tensor) -> None:
        """Let each class have the prior probability."""
        bias[:-1] = bias_of(self.prior)
