"""Taking what happened to files and to the terminal."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

import torch
from tqdm import tqdm

from cardamage.engine.trainer_base import HookBase
from cardamage.errors import TrainingError
from cardamage.utils.events import EventWriter
from cardamage.utils.writers import JSONWriter, peak_memory_mb

__all__ = ["PeriodicWriter", "PlotHook", "ProgressBar"]

logger = logging.getLogger(__name__)


class PeriodicWriter(HookBase):
    """Lets writers write every ``period`` iterations and at the end; register it late."""

    def __init__(self, writers: Sequence[EventWriter], period: int = 20) -> None:
        """Keep the writers.

        Args:
            writers: the writers.
            period: iterations between writes.

        Raises:
            TypeError: if one of them is no writer.
        """
        for writer in writers:
            if not isinstance(writer, EventWriter):
                raise TypeError(f"{type(writer).__name__} is no EventWriter")
        self._writers = list(writers)
        self._period = period

    def before_train(self) -> None:
        """Write the line that a kill between a checkpoint and its write left out of ``metrics.json``."""
        done, end = self.trainer.start_iter, self.trainer.max_iter
        if done > 0 and (done % self._period == 0 or done == end):
            for writer in self._writers:
                if isinstance(writer, JSONWriter):
                    self._write(writer)

    def after_step(self) -> None:
        """Write if it is time."""
        done = self.trainer.iter + 1
        if done % self._period == 0 or done == self.trainer.max_iter:
            for writer in list(self._writers):
                self._write(writer)

    def after_train(self) -> None:
        """Write what is left and close."""
        for writer in list(self._writers):
            self._write(writer)
            writer.close()

    def _write(self, writer: EventWriter) -> None:
        try:
            writer.write()
        except TrainingError:
            # Once the training has stopped for it, it must not fail again.
            self._writers.remove(writer)
            writer.close()
            raise


class ProgressBar(HookBase):
    """A bar with time left, loss, learning rate, share of time spent waiting for data, and peak memory.

    It shows itself on a terminal only. The metric lines then go to ``log.txt`` alone.
    """

    def __init__(self, refresh_period: int = 1, enabled: bool | None = None) -> None:
        """Set how often numbers are read.

        Args:
            refresh_period: iterations between readings of the numbers; on a GPU a reading waits for it.
            enabled: whether to show it; None does so if stderr is a terminal.
        """
        self._refresh_period = refresh_period
        self._enabled = sys.stderr.isatty() if enabled is None else enabled
        self._bar: Any = None
        self._muted: list[logging.Handler] = []

    def before_train(self) -> None:
        """Show the bar."""
        if not self._enabled:
            return
        self._bar = tqdm(
            total=self.trainer.max_iter,
            initial=self.trainer.start_iter,
            desc="training",
            dynamic_ncols=True,
            # tqdm's own time left would count evaluations as slow steps.
            bar_format="{desc}: {percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt} [{elapsed}{postfix}]",
        )
        for handler in logging.getLogger("cardamage").handlers:
            if not isinstance(handler, logging.FileHandler):
                handler.addFilter(_is_no_metric_line)
                self._muted.append(handler)

    def after_step(self) -> None:
        """Move on by one."""
        if self._bar is None:
            return
        if (self.trainer.iter + 1) % self._refresh_period == 0:
            left = self.trainer.max_iter - self.trainer.iter - 1
            self._bar.set_postfix_str(describe_progress(self.trainer.storage, left), refresh=False)
        self._bar.update(1)
        if self.trainer.iter + 1 >= self.trainer.max_iter:
            # The evaluation after the last step has a bar of its own.
            self._bar.close()

    def after_train(self) -> None:
        """Leave the bar as it is."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None
        for handler in self._muted:
            handler.removeFilter(_is_no_metric_line)
        self._muted.clear()


def _is_no_metric_line(record: logging.LogRecord) -> bool:
    return record.name != "cardamage.utils.events"


def describe_progress(storage: Any, steps_left: int | None = None) -> str:
    """Return what the bar shows behind the time: time left, loss, lr, data share, memory.

    Args:
        storage: the training's storage.
        steps_left: how many iterations the time left is of; None leaves it out.
    """
    shown = storage.latest_with_smoothing_hint(20)
    parts = []
    if steps_left is not None and "time" in shown:
        seconds = storage.history("time").median(1000) * steps_left
        parts.append(f"ETA {timedelta(seconds=int(seconds))}")
    if "total_loss" in shown:
        parts.append(f"loss {shown['total_loss'][0]:.3g}")
    if "lr" in shown:
        parts.append(f"lr {shown['lr'][0]:.3g}")
    if "data_share" in shown:
        parts.append(f"data {shown['data_share'][0]:.0%}")
    elif "time" in shown and "data_time" in shown and shown["time"][0] > 0:
        parts.append(f"data {min(1.0, shown['data_time'][0] / shown['time'][0]):.0%}")
    memory = peak_memory_mb()
    if memory is not None:
        parts.append(f"{'GPU' if torch.cuda.is_available() else 'RAM'} {memory / 1024:.1f}G")
    return ", ".join(parts)


class PlotHook(HookBase):
    """Draws the curves of ``metrics.json`` at the end; register it after the writers, on process 0."""

    def __init__(self, plot: Callable[[], Any]) -> None:
        """Keep the function.

        Args:
            plot: draws the picture; what it raises is logged, since the training is done by then.
        """
        self._plot = plot

    def after_train(self) -> None:
        """Draw, after a training that ran to its end."""
        if self.trainer.iter < self.trainer.max_iter:
            return
        try:
            self._plot()
        except Exception:
            logger.exception("The training curves could not be drawn:")
