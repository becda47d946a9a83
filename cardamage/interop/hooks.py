"""What cardamage's training does between the steps, as hooks of Detectron2's trainer."""

from __future__ import annotations

from typing import Any

from detectron2.engine import HookBase
from detectron2.engine.hooks import BestCheckpointer as UpstreamBestCheckpointer

from cardamage.solver import ModelEMA

__all__ = ["BestCheckpointer", "EMAHook"]


class BestCheckpointer(UpstreamBestCheckpointer):
    """Detectron2's, which forgets the best so far when a training is resumed; this one doesn't."""

    def state_dict(self) -> dict[str, Any]:
        """Return the best value so far and its iteration, as cardamage's hook does."""
        return {} if self.best_metric is None else {"metric": self.best_metric, "iteration": self.best_iter}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue with the best of an earlier run."""
        self.best_metric = float(state_dict["metric"])
        self.best_iter = int(state_dict["iteration"])


class EMAHook(HookBase):
    """Updates the averaged weights after every iteration."""

    def __init__(self, ema: ModelEMA) -> None:
        """Keep the average.

        Args:
            ema: the average.
        """
        self._ema = ema

    def before_train(self) -> None:
        """Start from the weights there are now: they may have been loaded since the average was made."""
        if self._ema.updates == 0:
            self._ema.reset()

    def after_step(self) -> None:
        """Take the step's weights in."""
        self._ema.update()
