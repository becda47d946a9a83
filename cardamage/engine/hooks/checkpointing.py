"""When a checkpoint is saved."""

from __future__ import annotations

import logging
import math
from typing import Any

from fvcore.common.checkpoint import Checkpointer as FvcoreCheckpointer

from cardamage.checkpoint import Checkpointer
from cardamage.checkpoint import PeriodicCheckpointer as _PeriodicCheckpointer
from cardamage.engine.trainer_base import HookBase
from cardamage.errors import ConfigValueError

__all__ = ["BestCheckpointer", "PeriodicCheckpointer"]

logger = logging.getLogger(__name__)


class PeriodicCheckpointer(_PeriodicCheckpointer, HookBase):
    """Saves every ``period`` iterations and after the last; register it on all ranks."""

    def before_train(self) -> None:
        """Learn where the training ends."""
        self.max_iter = self.trainer.max_iter

    def after_step(self) -> None:
        """Save if it is time."""
        iteration = self.trainer.iter
        if self.is_numbered(iteration) or self.is_last(iteration):
            self.trainer.prepare_checkpoint()
            self.step(iteration)


class BestCheckpointer(HookBase):
    """Saves ``model_best.pth`` whenever a metric is the best so far, the final evaluation's included.

    Register it on all ranks after the hook that measures, with the same period. The best so far is part of
    checkpoints.
    """

    def __init__(
        self,
        eval_period: int,
        checkpointer: FvcoreCheckpointer,
        val_metric: str,
        mode: str = "max",
        file_prefix: str = "model_best",
        fallback_metrics: tuple[str, ...] = (),
    ) -> None:
        """Set what is best.

        Args:
            eval_period: the iterations between evaluations; 0 for the final one only.
            checkpointer: what saves.
            val_metric: the metric's name in the storage, e.g. ``segm/AP``.
            mode: ``max`` or ``min``: which value is better.
            file_prefix: the file's name without ``.pth``.
            fallback_metrics: names to look for, in turn, where ``val_metric`` isn't measured.

        Raises:
            ConfigValueError: if ``mode`` is neither of the two.
        """
        if mode not in ("max", "min"):
            raise ConfigValueError(f"TEST.BEST_CHECKPOINT.MODE is {mode!r}: use max or min.")
        self._period = eval_period
        self._checkpointer = checkpointer
        self._metrics = (val_metric, *fallback_metrics)
        self._mode = mode
        self._file_prefix = file_prefix
        self.best_metric: float | None = None
        self.best_iter: int | None = None

    def before_train(self) -> None:
        """Take in an evaluation that a resumed training had to make up for."""
        found = self._latest()
        if found and self._is_new(found[2], self.trainer.start_iter - 1):
            with self.trainer.at_last_step():
                self._best_checking()

    def _is_new(self, measured: int, iteration: int) -> bool:
        is_period = self._period > 0 and (iteration + 1) % self._period == 0
        return measured == iteration >= 0 and is_period and self.best_iter != iteration

    def after_step(self) -> None:
        """Compare after a periodic evaluation."""
        done = self.trainer.iter + 1
        if self._period > 0 and done % self._period == 0 and done != self.trainer.max_iter:
            self._best_checking()

    def after_train(self) -> None:
        """Compare after the final evaluation."""
        if self.trainer.iter >= self.trainer.max_iter:
            self._best_checking()

    def _latest(self) -> tuple[str, float, int] | None:
        latest = self.trainer.storage.latest()
        for name in self._metrics:
            if name in latest:
                return (name, *latest[name])
        return None

    def _best_checking(self) -> None:
        self.trainer.prepare_checkpoint()
        if not self._checkpointer.save_to_disk:
            return
        found = self._latest()
        if found is None:
            logger.warning("%s was not measured: %s is not saved.", self._metrics[0], self._file_prefix)
            return
        name, value, iteration = found
        if not self._is_better(value):
            logger.info("%s %.4f is not better than %s.", name, value, self._describe_best())
            return
        before, self.best_metric, self.best_iter = self._describe_best(), value, iteration
        logger.info("%s %.4f is the best so far (before: %s).", name, value, before)
        # Training resumes from the last checkpoint, not from the best.
        last_done = min(self.trainer.iter, self.trainer.max_iter - 1)
        # fvcore's checkpointer tags each file, and would store the argument.
        tag: dict[str, Any] = {"tag": False} if isinstance(self._checkpointer, Checkpointer) else {}
        self._checkpointer.save(self._file_prefix, **tag, iteration=last_done)

    def _is_better(self, value: float) -> bool:
        if not math.isfinite(value):
            return False
        if self.best_metric is None:
            return True
        return value > self.best_metric if self._mode == "max" else value < self.best_metric

    def _describe_best(self) -> str:
        return "none" if self.best_metric is None else f"{self.best_metric:.4f} at iteration {self.best_iter}"

    def state_dict(self) -> dict[str, Any]:
        """Return the best value so far and its iteration."""
        return {} if self.best_metric is None else {"metric": self.best_metric, "iteration": self.best_iter}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue with the best of an earlier run."""
        self.best_metric = float(state_dict["metric"])
        self.best_iter = int(state_dict["iteration"])
