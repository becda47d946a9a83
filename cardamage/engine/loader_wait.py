"""How long the model waits for its batches."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

import torch

__all__ = ["LoaderWait"]


class LoaderWait:
    """Adds up the time in which the model's device had nothing to do for want of a batch.

    A GPU may still be busy with the steps before while the host waits; that costs nothing and doesn't count.
    """

    def __init__(self, device: torch.device) -> None:
        """Start at zero.

        Args:
            device: where the model is.
        """
        self._device = device
        self._seconds: float | None = None
        self._marks: deque[tuple[torch.cuda.Event, torch.cuda.Event]] = deque()

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Count the time of a ``with`` block in which the next batch is fetched."""
        if self._device.type == "cuda":
            begin = self._mark()
            yield
            self._marks.append((begin, self._mark()))
            return
        start = time.perf_counter()
        yield
        self._seconds = (self._seconds or 0.0) + time.perf_counter() - start

    def _mark(self) -> torch.cuda.Event:
        """Note the time at which the device will be through with what it was given so far."""
        event = torch.cuda.Event(enable_timing=True)
        event.record(torch.cuda.current_stream(self._device))
        return event

    def take(self) -> float | None:
        """Return the seconds since the last call, as far as known; None where nothing was counted."""
        # In order, and without waiting for steps that the device hasn't come to.
        while self._marks and self._marks[0][1].query():
            begin, end = self._marks.popleft()
            self._seconds = (self._seconds or 0.0) + begin.elapsed_time(end) / 1000
        seconds, self._seconds = self._seconds, None
        return seconds
