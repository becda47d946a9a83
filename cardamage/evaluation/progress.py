"""How far an inference run is, and where its time goes."""

from __future__ import annotations

import datetime
import logging
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from tqdm import tqdm

from cardamage.utils import comm

__all__ = ["InferenceProgress"]

logger = logging.getLogger(__name__)

PHASES = ("data", "compute", "eval")


class InferenceProgress:
    """Times the phases of each batch and tells the reader: a bar on a terminal, log lines elsewhere.

    The first batches (at most five) warm up caches and kernels, so their time is not counted.

    Args:
        total: number of batches.
        log_every: seconds between two log lines.
    """

    def __init__(self, total: int, log_every: float = 5.0) -> None:
        self.total = total
        self.log_every = log_every
        self.done = 0
        self.seconds = dict.fromkeys(PHASES, 0.0)
        self.measured = 0
        self._warmup = min(5, max(total - 1, 0))
        self._started = self._measured_from = self._logged = time.perf_counter()
        on_terminal = sys.stderr.isatty() and comm.is_main_process()
        self._bar = tqdm(
            total=total,
            desc="inference",
            unit="batch",
            dynamic_ncols=True,
            leave=False,
            disable=not on_terminal,
        )

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Count the time spent inside as phase ``name`` (one of ``data``, ``compute``, ``eval``)."""
        start = time.perf_counter()
        yield
        self.seconds[name] += time.perf_counter() - start

    def step(self) -> None:
        """Note that one more batch is finished."""
        self.done += 1
        self.measured += 1
        if self.done == self._warmup:
            self.seconds = dict.fromkeys(PHASES, 0.0)
            self.measured = 0
            self._measured_from = time.perf_counter()
        self._bar.update()
        now = time.perf_counter()
        if self._bar.disable and self.measured and now - self._logged >= self.log_every:
            self._logged = now
            logger.info("%s", self.line())

    def line(self) -> str:
        """Return one line: batches done, seconds per batch of each phase, time left."""
        batches = max(self.measured, 1)
        per_batch = (time.perf_counter() - self._measured_from) / batches
        parts = ", ".join(f"{name} {self.seconds[name] / batches:.4f}" for name in PHASES)
        left = datetime.timedelta(seconds=int(per_batch * (self.total - self.done)))
        return f"Inference {self.done}/{self.total}: {per_batch:.4f} s/batch ({parts}), ETA {left}"

    def close(self) -> None:
        """Remove the bar and log the totals."""
        self._bar.close()
        took = datetime.timedelta(seconds=round(time.perf_counter() - self._started))
        batches = max(self.measured, 1)
        parts = ", ".join(f"{name} {self.seconds[name] / batches:.4f}" for name in PHASES)
        logger.info(
            "Inference of %d batches took %s on %d process(es); seconds per batch: %s",
            self.done,
            took,
            comm.get_world_size(),
            parts,
        )
