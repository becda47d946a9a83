"""Callbacks and timing."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from fvcore.common.timer import Timer

from cardamage.engine.trainer_base import HookBase

__all__ = ["CallbackHook", "IterationTimer"]

logger = logging.getLogger(__name__)

Callback = Callable[[Any], None]


class CallbackHook(HookBase):
    """A hook of functions, each taking the trainer."""

    def __init__(
        self,
        *,
        before_train: Callback | None = None,
        after_train: Callback | None = None,
        before_step: Callback | None = None,
        after_step: Callback | None = None,
    ) -> None:
        """Keep the functions; None does nothing."""
        self._functions = {
            "before_train": before_train,
            "after_train": after_train,
            "before_step": before_step,
            "after_step": after_step,
        }

    def _call(self, name: str) -> None:
        function = self._functions.get(name)
        if function is not None:
            function(self.trainer)

    def before_train(self) -> None:
        """Call the function for it."""
        self._call("before_train")

    def after_train(self) -> None:
        """Call the function for it, and let go of all of them: they may hold the trainer."""
        self._call("after_train")
        self._functions.clear()

    def before_step(self) -> None:
        """Call the function for it."""
        self._call("before_step")

    def after_step(self) -> None:
        """Call the function for it."""
        self._call("after_step")


class IterationTimer(HookBase):
    """Puts the seconds of each step into the storage as ``time`` and logs a summary at the end.

    It measures from its ``before_step`` to its ``after_step``: register it first.
    """

    def __init__(self, warmup_iter: int = 3) -> None:
        """Set what isn't counted.

        Args:
            warmup_iter: the number of first steps, slower than the rest, to leave out.
        """
        self._warmup_iter = warmup_iter
        self._step_timer = Timer()
        self._total_timer = Timer()
        self._start_time = time.perf_counter()

    def _restart(self) -> None:
        self._start_time = time.perf_counter()
        self._total_timer.reset()

    def before_train(self) -> None:
        """Start the clocks."""
        self._restart()
        self._total_timer.pause()

    def before_step(self) -> None:
        """Start the step's clock."""
        self._step_timer.reset()
        self._total_timer.resume()

    def after_step(self) -> None:
        """Note the step's time, once warm."""
        done = self.trainer.storage.iter - self.trainer.start_iter + 1
        if done >= self._warmup_iter:
            self.trainer.storage.put_scalar("time", self._step_timer.seconds())
        else:
            self._restart()
        self._total_timer.pause()

    def after_train(self) -> None:
        """Log speed and total time."""
        total = time.perf_counter() - self._start_time
        stepping = self._total_timer.seconds()
        steps = self.trainer.storage.iter + 1 - self.trainer.start_iter - self._warmup_iter
        if steps > 0 and stepping > 0:
            logger.info(
                "Overall training speed: %d iterations in %s (%.4f s / it)",
                steps,
                timedelta(seconds=int(stepping)),
                stepping / steps,
            )
        logger.info(
            "Total training time: %s (%s on hooks)",
            timedelta(seconds=int(total)),
            timedelta(seconds=int(max(0.0, total - stepping))),
        )
