"""Where the scalars of a training go: ``metrics.json``, TensorBoard, the log."""

from __future__ import annotations

import functools
import json
import logging
import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import Any, TextIO

import torch

from cardamage.errors import TrainingError
from cardamage.utils.event_storage import EventStorage, get_event_storage
from cardamage.utils.files import describe_write_error

__all__ = [
    "CommonMetricPrinter",
    "EventWriter",
    "JSONWriter",
    "TensorboardXWriter",
    "peak_memory_mb",
    "rollback_metrics",
]


class EventWriter:
    """Takes what is new in the present :class:`EventStorage` somewhere."""

    def write(self) -> None:
        """Write what was put since the last call."""
        raise NotImplementedError

    def close(self) -> None:
        """Release files; nothing is written afterwards."""


@contextmanager
def _writing_to(folder: str | os.PathLike[str]) -> Iterator[None]:
    """Say which folder can't be written."""
    try:
        yield
    except OSError as error:
        raise TrainingError(describe_write_error(folder, error)) from error


class JSONWriter(EventWriter):
    """Appends scalars to a file, a JSON object a line: ``iteration`` and the scalars put at it."""

    def __init__(self, json_file: str | os.PathLike[str], window_size: int = 20) -> None:
        """Choose the file; it is opened at the first write.

        Args:
            json_file: the file. Lines are added to what it holds; iterations in it aren't written again.
            window_size: how many iterations the median of noisy scalars spans.
        """
        self._path = Path(json_file)
        self._window_size = window_size
        self._file: TextIO | None = None
        self._last_write = -1

    def write(self) -> None:
        """Write a line for each iteration with new scalars, down to the disk.

        Raises:
            TrainingError: if the disk takes no more.
        """
        with _writing_to(self._path.parent):
            self._write_lines()

    def _write_lines(self) -> None:
        file = self._open()
        lines: dict[int, dict[str, float]] = {}
        for name, (value, iteration) in (
            get_event_storage().latest_with_smoothing_hint(self._window_size).items()
        ):
            if iteration > self._last_write:
                lines.setdefault(iteration, {})[name] = value
        for iteration, scalars in sorted(lines.items()):
            file.write(json.dumps({**scalars, "iteration": iteration}, sort_keys=True) + "\n")
        if lines:
            self._last_write = max(lines)
            file.flush()
            os.fsync(file.fileno())

    def _open(self) -> TextIO:
        if self._file is None:
            self._last_write = _last_iteration(self._path)
            self._file = self._path.open("a", encoding="utf-8")
        return self._file

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            with suppress(OSError):  # of lines whose write failed already
                self._file.close()


def _parse(line: str) -> dict[str, Any]:
    """Return the scalars of a line of ``metrics.json``; {} for a line cut off by a kill."""
    try:
        scalars = json.loads(line)
    except ValueError:
        return {}
    return scalars if isinstance(scalars, dict) and "iteration" in scalars else {}


def _read_lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines() if path.is_file() else []


def _last_iteration(path: Path) -> int:
    return max((int(_parse(line).get("iteration", -1)) for line in _read_lines(path)), default=-1)


def rollback_metrics(json_file: str | os.PathLike[str], start_iter: int) -> None:
    """Cut ``metrics.json`` back to what a checkpoint knows, before training goes on from it.

    Args:
        json_file: the file; nothing happens if it doesn't exist.
        start_iter: the first iteration to come; lines of it and of later ones are dropped, and so are lines
            that a kill cut short.
    """
    path = Path(json_file)
    lines = _read_lines(path)
    kept = [line for line in lines if int(_parse(line).get("iteration", start_iter)) < start_iter]
    if len(kept) < len(lines):
        temporary = path.with_name(path.name + ".tmp")
        temporary.write_text("".join(line + "\n" for line in kept), encoding="utf-8")
        os.replace(temporary, path)


class TensorboardXWriter(EventWriter):
    """Writes scalars, pictures and histograms for TensorBoard."""

    def __init__(self, log_dir: str, window_size: int = 20, **kwargs: Any) -> None:
        """Choose the folder; the event file is made at the first write.

        Args:
            log_dir: where the event files go.
            window_size: how many iterations the median of noisy scalars spans.
            kwargs: for ``torch.utils.tensorboard.SummaryWriter``.
        """
        self._arguments = {"log_dir": log_dir, **kwargs}
        self._window_size = window_size
        self._last_write = -1

    def write(self) -> None:
        """Write the new scalars, and all pictures and histograms, which the storage then drops.

        Raises:
            TrainingError: if the disk takes no more.
        """
        with _writing_to(self._arguments["log_dir"]):
            self._write_new()

    def _write_new(self) -> None:
        storage, summary = get_event_storage(), self._writer
        newest = self._last_write
        for name, (value, iteration) in storage.latest_with_smoothing_hint(self._window_size).items():
            if iteration > self._last_write:
                summary.add_scalar(name, value, iteration)
                newest = max(newest, iteration)
        self._last_write = newest
        for name, image, iteration in storage._vis_data:
            summary.add_image(name, image, iteration)
        storage.clear_images()
        for histogram in storage._histograms:
            summary.add_histogram_raw(**histogram)
        storage.clear_histograms()
        summary.flush()

    @functools.cached_property
    def _writer(self) -> Any:
        # Importing it takes seconds, which commands that never train shouldn't pay.
        from torch.utils.tensorboard import SummaryWriter

        _say_disk_errors_once()
        return SummaryWriter(**self._arguments)

    def close(self) -> None:
        """Close the event file."""
        if "_writer" in vars(self):
            with suppress(OSError):  # of scalars whose write failed already
                self._writer.close()


def _say_disk_errors_once() -> None:
    """Keep TensorBoard's thread from printing what it can't write: the next flush raises the same error."""
    before = threading.excepthook

    def report(failure: threading.ExceptHookArgs) -> None:
        own = type(failure.thread).__module__.startswith("tensorboard")
        if not (own and issubclass(failure.exc_type, OSError)):
            before(failure)

    threading.excepthook = report


def peak_memory_mb() -> float | None:
    """Return the most memory used so far in MiB: on the GPU where there is one, else of this process."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated() / 2**20
    if sys.platform == "win32":
        return None
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2**20 if sys.platform == "darwin" else peak / 2**10


class CommonMetricPrinter(EventWriter):
    """Logs a line with the time left, losses, timing, learning rate and peak memory."""

    def __init__(self, max_iter: int | None = None, window_size: int = 20) -> None:
        """Set what the time left is counted to.

        Args:
            max_iter: the last iteration; None leaves the time left out.
            window_size: how many iterations the losses' median spans.
        """
        self.logger = logging.getLogger("cardamage.utils.events")
        self._max_iter = max_iter
        self._window_size = window_size
        self._last_write: tuple[int, float] | None = None

    def write(self) -> None:
        """Log the line; nothing once training is over."""
        storage = get_event_storage()
        if storage.iter == self._max_iter:
            return
        left = self._seconds_left(storage)
        parts = [f"eta: {timedelta(seconds=int(left))}" if left is not None else "", f"iter: {storage.iter}"]
        parts += self._medians(storage, "loss") + self._medians(storage, "[metric]")
        parts += self._timing(storage, "time") + self._timing(storage, "data_time")
        share = storage.latest().get("data_share")
        parts.append(f"data_share: {share[0]:.0%}" if share else "")
        lr = storage.latest().get("lr")
        parts.append(f"lr: {lr[0]:.5g}" if lr else "lr: N/A")
        memory = peak_memory_mb()
        parts.append(f"max_mem: {memory:.0f}M" if memory is not None else "")
        self.logger.info(" %s", "  ".join(part for part in parts if part))

    def _medians(self, storage: EventStorage, marker: str) -> list[str]:
        return [
            f"{name}: {history.median(storage.count_samples(name, self._window_size)):.4g}"
            for name, history in storage.histories().items()
            if marker in name
        ]

    def _timing(self, storage: EventStorage, name: str) -> list[str]:
        if name not in storage.histories():
            return []
        history = storage.history(name)
        # The mean over all of training is steadier; waiting for data is a matter of the moment.
        samples = storage.count_samples(name, self._window_size)
        mean = history.global_avg() if name == "time" else history.avg(samples)
        return [f"{name}: {mean:.4f}", f"last_{name}: {history.latest():.4f}"]

    def _seconds_left(self, storage: EventStorage) -> float | None:
        if self._max_iter is None:
            return None
        to_do = self._max_iter - storage.iter - 1
        if "time" in storage.histories():
            seconds = float(storage.history("time").median(1000)) * to_do
            storage.put_scalar("eta_seconds", seconds, smoothing_hint=False)
            return seconds
        before, self._last_write = self._last_write, (storage.iter, time.perf_counter())
        if before is None or before[0] == storage.iter:
            return None
        return (time.perf_counter() - before[1]) / (storage.iter - before[0]) * to_do
