"""Telling when the data loader is what training waits for."""

from __future__ import annotations

import logging
import os
import time
from typing import Any

from cardamage.engine.loader_wait import LoaderWait
from cardamage.engine.trainer_base import HookBase
from cardamage.utils import comm

__all__ = ["LoaderWatch"]

logger = logging.getLogger(__name__)

_TOO_MUCH = 0.2


class LoaderWatch(HookBase):
    """Puts the share of the steps' time spent waiting for batches into the storage, as ``data_share``.

    Warns once where it is more than a fifth, and again only with another number of loader workers. Register
    it after the timer and before the writers.
    """

    def __init__(self, wait: LoaderWait, num_workers: int, period: int = 20) -> None:
        """Set what is watched.

        Args:
            wait: the trainer's.
            num_workers: the loader's worker processes.
            period: iterations that a share is of. The first ones, in which workers start, are not judged.
        """
        self._wait = wait
        self._num_workers = num_workers
        self._period = max(1, period)
        self._told: int | None = None
        self._seconds = 0.0
        self._steps = 0
        self._warm = False
        self._start = 0.0

    def before_step(self) -> None:
        """Start the step's clock."""
        self._start = time.perf_counter()

    def after_step(self) -> None:
        """Note the step's time; at the end of a period, the share."""
        self._seconds += time.perf_counter() - self._start
        self._steps += 1
        if (self.trainer.iter + 1) % self._period and self.trainer.iter + 1 != self.trainer.max_iter:
            return
        waited, seconds, steps = self._wait.take(), self._seconds, self._steps
        self._seconds, self._steps = 0.0, 0
        if waited is None or seconds <= 0:
            return
        share = min(1.0, waited / seconds)
        self.trainer.storage.put_scalar("data_share", share, smoothing_hint=False)
        judged = self._warm and steps == self._period
        if judged and share > _TOO_MUCH and self._told != self._num_workers:
            self._told = self._num_workers
            logger.warning("%s", _advice(share, steps, self._num_workers, _cores()))
        self._warm = True

    def state_dict(self) -> dict[str, Any]:
        """Return the number of workers that was warned of."""
        return {} if self._told is None else {"told": self._told}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue from what :meth:`state_dict` returned."""
        self._told = state_dict.get("told")


def _cores() -> int:
    """Return how many cores there are for each training process of this machine."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, usable // comm.get_local_size())


def _advice(share: float, steps: int, num_workers: int, cores: int) -> str:
    found = f"In the last {steps} iterations the model waited for the data loader {share:.0%} of the time"
    if num_workers < cores:
        return (
            f"{found}: raise DATALOADER.NUM_WORKERS, now {num_workers}; there are {cores} cores for this "
            "process."
        )
    return (
        f"{found}, and DATALOADER.NUM_WORKERS {num_workers} takes all of the {cores} cores: store the "
        "photos no larger than they are trained on (INPUT.MAX_SIZE_TRAIN), on a fast disk."
    )
