"""Learning-rate schedules: pure functions of progress, applied to every group of an optimizer."""

from __future__ import annotations

from typing import Any

import torch
from fvcore.common.param_scheduler import (
    CompositeParamScheduler,
    ConstantParamScheduler,
    LinearParamScheduler,
    ParamScheduler,
)
from torch.optim.lr_scheduler import LRScheduler

from cardamage.errors import ConfigValueError
from cardamage.solver.warmup_lr import WarmupCosineLR, WarmupMultiStepLR

__all__ = ["LRMultiplier", "LRScheduler", "WarmupCosineLR", "WarmupMultiStepLR", "WarmupParamScheduler"]


class WarmupParamScheduler(CompositeParamScheduler):
    """A schedule with a warm-up before it (Goyal et al., 2017, section 2.2)."""

    def __init__(
        self,
        scheduler: ParamScheduler,
        warmup_factor: float,
        warmup_length: float,
        warmup_method: str = "linear",
        rescale_interval: bool = False,
    ) -> None:
        """Join the warm-up and the schedule.

        Args:
            scheduler: the schedule that follows.
            warmup_factor: the first value, as a fraction of the schedule's first value.
            warmup_length: how much of the training the warm-up takes, in [0, 1].
            warmup_method: ``linear`` (a ramp up to the schedule's value there) or ``constant``.
            rescale_interval: whether the schedule is squeezed into what the warm-up leaves, rather than
                being overlaid by it.

        Raises:
            ConfigValueError: if ``warmup_method`` is neither of the two.
        """
        start = warmup_factor * scheduler(0.0)
        end = scheduler(0.0 if rescale_interval else warmup_length)
        if warmup_method == "linear":
            warmup: ParamScheduler = LinearParamScheduler(start, end)
        elif warmup_method == "constant":
            warmup = ConstantParamScheduler(start)
        else:
            raise ConfigValueError(
                f"SOLVER.WARMUP_METHOD is {warmup_method!r}, which is not a way to warm up: "
                "use linear or constant."
            )
        super().__init__(
            [warmup, scheduler],
            lengths=[warmup_length, 1 - warmup_length],
            interval_scaling=["rescaled", "rescaled" if rescale_interval else "fixed"],
        )


class LRMultiplier(LRScheduler):
    """Multiplies every group's initial learning rate by one schedule of the training's progress.

    Step it once an iteration. Groups keep the ratio of their learning rates. The step after the last
    iteration asks the schedule for progress 1, where fvcore's with fixed gamma has no value; later ones stay.
    """

    def __init__(
        self, optimizer: torch.optim.Optimizer, multiplier: ParamScheduler, max_iter: int, last_iter: int = -1
    ) -> None:
        """Attach the schedule to the optimizer and set the first learning rates.

        Args:
            optimizer: the optimizer.
            multiplier: fvcore schedule giving the factor at a progress in [0, 1].
            max_iter: the number of iterations of the whole training.
            last_iter: the iteration done last; -1 before the first.

        Raises:
            ValueError: if ``multiplier`` is not an fvcore ``ParamScheduler``.
        """
        if not isinstance(multiplier, ParamScheduler):
            raise ValueError(f"LRMultiplier needs an fvcore ParamScheduler, not {type(multiplier).__name__}")
        self._multiplier = multiplier
        self._max_iter = max_iter
        super().__init__(optimizer, last_epoch=last_iter)

    def state_dict(self) -> dict[str, Any]:
        """Return the position and the initial learning rates; the schedule itself has no state."""
        return {"base_lrs": self.base_lrs, "last_epoch": self.last_epoch}

    def get_lr(self) -> list[float]:  # type: ignore[override]
        """Return the learning rate of each group at the current iteration."""
        factor = self._multiplier(min(self.last_epoch / self._max_iter, 1.0))
        return [float(base_lr) * factor for base_lr in self.base_lrs]
