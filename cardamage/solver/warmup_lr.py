"""Detectron2's older schedules with a warm-up, for scripts that build them by hand.

They multiply the schedule by the warm-up, where :class:`cardamage.solver.WarmupParamScheduler` ramps up to
it: the two differ while a cosine falls during the warm-up.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence

import torch
from torch.optim.lr_scheduler import LRScheduler

from cardamage.errors import ConfigValueError

__all__ = ["WarmupCosineLR", "WarmupMultiStepLR"]


class _WarmupLR(LRScheduler):
    """Initial learning rates times the warm-up's factor times that of :meth:`factor`."""

    warmup_factor: float
    warmup_iters: int
    warmup_method: str

    def factor(self) -> float:
        """Return the schedule's own factor at the present iteration."""
        raise NotImplementedError

    def _warmup(self) -> float:
        if self.last_epoch >= self.warmup_iters:
            return 1.0
        if self.warmup_method == "constant":
            return self.warmup_factor
        if self.warmup_method == "linear":
            done = self.last_epoch / self.warmup_iters
            return self.warmup_factor * (1 - done) + done
        raise ConfigValueError(
            f"The warm-up method {self.warmup_method!r} is unknown: use linear or constant."
        )

    def get_lr(self) -> list[float]:  # type: ignore[override]
        """Return the learning rate of each group at the present iteration."""
        factor = self._warmup() * self.factor()
        return [float(rate) * factor for rate in self.base_lrs]


class WarmupMultiStepLR(_WarmupLR):
    """Multiplies the learning rate by ``gamma`` at every milestone."""

    def __init__(
        self,
        optimizer: torch.optim.Optimizer,
        milestones: Sequence[int],
        gamma: float = 0.1,
        warmup_factor: float = 0.001,
        warmup_iters: int = 1000,
        warmup_method: str = "linear",
        last_epoch: int = -1,
    ) -> None:
        """Attach the schedule.

        Args:
            optimizer: the optimizer.
            milestones: iterations, ascending.
            gamma: factor at each of them.
            warmup_factor: where the warm-up begins, as a factor on the learning rate.
            warmup_iters: its length in iterations.
            warmup_method: ``linear`` or ``constant``.
            last_epoch: the iteration done last; -1 before the first.

        Raises:
            ConfigValueError: if the milestones don't ascend, or the method is unknown.
        """
        if list(milestones) != sorted(milestones):
            raise ConfigValueError(f"The milestones {list(milestones)} must ascend.")
        self.milestones, self.gamma = list(milestones), gamma
        self.warmup_factor, self.warmup_iters, self.warmup_method = warmup_factor, warmup_iters, warmup_method
        super().__init__(optimizer, last_epoch)

    def factor(self) -> float:
        """Return ``gamma`` to the number of milestones reached."""
        return float(self.gamma ** bisect_right(self.milestones, self.last_epoch))


class WarmupCosineLR(_WarmupLR):
    """Lets the learning rate fall to 0 on half a cosine."""

    def __init__(
        self,
        optimizer: torch.optim.Optimizer,
        max_iters: int,
        warmup_factor: float = 0.001,
        warmup_iters: int = 1000,
        warmup_method: str = "linear",
        last_epoch: int = -1,
    ) -> None:
        """Attach the schedule.

        Args:
            optimizer: the optimizer.
            max_iters: the length of the whole training.
            warmup_factor: as of :class:`WarmupMultiStepLR`.
            warmup_iters: as of :class:`WarmupMultiStepLR`.
            warmup_method: as of :class:`WarmupMultiStepLR`.
            last_epoch: as of :class:`WarmupMultiStepLR`.

        Raises:
            ConfigValueError: if the warm-up method is unknown.
        """
        self.max_iters = max_iters
        self.warmup_factor, self.warmup_iters, self.warmup_method = warmup_factor, warmup_iters, warmup_method
        super().__init__(optimizer, last_epoch)

    def factor(self) -> float:
        """Return the cosine's value."""
        return 0.5 * (1.0 + math.cos(math.pi * self.last_epoch / self.max_iters))
