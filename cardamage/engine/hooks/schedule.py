"""What follows each step of the optimizer: the learning rate, the averaged weights."""

from __future__ import annotations

from collections import Counter
from typing import Any

import torch
from fvcore.common.param_scheduler import ParamScheduler

from cardamage.engine.trainer_base import HookBase
from cardamage.solver import LRMultiplier, ModelEMA
from cardamage.solver import LRScheduler as TorchLRScheduler

__all__ = ["EMAHook", "LRScheduler"]


class LRScheduler(HookBase):
    """Notes the learning rate as ``lr`` and steps the schedule, after every iteration."""

    def __init__(
        self,
        optimizer: torch.optim.Optimizer | None = None,
        scheduler: TorchLRScheduler | ParamScheduler | None = None,
    ) -> None:
        """Keep what is given.

        Args:
            optimizer: the optimizer; None takes the trainer's.
            scheduler: a torch scheduler, or an fvcore one that gives the factor on the optimizer's rates;
                None takes the trainer's.
        """
        self._optimizer = optimizer
        self._scheduler = scheduler
        self._group = 0

    @property
    def scheduler(self) -> Any:
        """The schedule."""
        return self._scheduler or self.trainer.scheduler

    def before_train(self) -> None:
        """Find the optimizer, and wrap an fvcore schedule."""
        self._optimizer = self._optimizer or self.trainer.optimizer
        if isinstance(self.scheduler, ParamScheduler):
            self._scheduler = LRMultiplier(
                self._optimizer, self.scheduler, self.trainer.max_iter, last_iter=self.trainer.iter - 1
            )
        self._group = self.get_best_param_group_id(self._optimizer)

    @staticmethod
    def get_best_param_group_id(optimizer: torch.optim.Optimizer) -> int:
        """Return which group's learning rate to show.

        It is the group with the most parameters; where every group has one, the first of the commonest rate.

        Args:
            optimizer: the optimizer.
        """
        groups = optimizer.param_groups
        largest = max(len(group["params"]) for group in groups)
        if largest > 1:
            return next(index for index, group in enumerate(groups) if len(group["params"]) == largest)
        rate = Counter(group["lr"] for group in groups).most_common(1)[0][0]
        return next(index for index, group in enumerate(groups) if group["lr"] == rate)

    def after_step(self) -> None:
        """Note the rate of the step just done and go on to the next one's."""
        assert self._optimizer is not None
        rate = self._optimizer.param_groups[self._group]["lr"]
        self.trainer.storage.put_scalar("lr", rate, smoothing_hint=False)
        self.scheduler.step()

    def state_dict(self) -> dict[str, Any]:
        """Return the schedule's state."""
        return self.scheduler.state_dict() if isinstance(self.scheduler, TorchLRScheduler) else {}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue the schedule."""
        if isinstance(self.scheduler, TorchLRScheduler):
            self.scheduler.load_state_dict(state_dict)


class EMAHook(HookBase):
    """Updates the averaged weights after every iteration."""

    def __init__(self, ema: ModelEMA) -> None:
        """Keep the average.

        Args:
            ema: the average; it is in the checkpoint by itself.
        """
        self._ema = ema

    def before_train(self) -> None:
        """Start from the weights there are now: they may have been loaded since the average was made."""
        if self._ema.updates == 0:
            self._ema.reset()

    def after_step(self) -> None:
        """Take the step's weights in."""
        self._ema.update()
