"""Where time and memory go."""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import torch

from cardamage.engine.trainer_base import HookBase
from cardamage.utils import comm

__all__ = ["AutogradProfiler", "TorchMemoryStats", "TorchProfiler"]

logger = logging.getLogger(__name__)

Predicate = Callable[[Any], bool]


class _Profiler(HookBase):
    """Profiles the steps that a function chooses, a trace file for each."""

    def __init__(self, enable_predicate: Predicate, output_dir: str) -> None:
        self._enable_predicate = enable_predicate
        self._output_dir = output_dir
        self._profiler: Any = None

    def _make(self) -> Any:
        raise NotImplementedError

    def before_step(self) -> None:
        """Start profiling if this step is chosen."""
        if self._enable_predicate(self.trainer):
            self._profiler = self._make()
            self._profiler.__enter__()

    def after_step(self) -> None:
        """Write the trace for ``chrome://tracing``."""
        if self._profiler is None:
            return
        self._profiler.__exit__(None, None, None)
        Path(self._output_dir).mkdir(parents=True, exist_ok=True)
        name = f"profiler-trace-iter{self.trainer.iter}-rank{comm.get_rank()}.json"
        self._profiler.export_chrome_trace(os.path.join(self._output_dir, name))
        self._profiler = None


class TorchProfiler(_Profiler):
    """Profiles steps with ``torch.profiler``."""

    def __init__(
        self,
        enable_predicate: Predicate,
        output_dir: str,
        *,
        activities: Iterable[Any] | None = None,
        save_tensorboard: bool = False,
    ) -> None:
        """Choose the steps.

        Args:
            enable_predicate: takes the trainer and tells whether to profile its next step.
            output_dir: where the traces go.
            activities: as of ``torch.profiler.profile``.
            save_tensorboard: whether to write traces for TensorBoard under ``log/`` too.
        """
        super().__init__(enable_predicate, output_dir)
        self._activities = activities
        self._save_tensorboard = save_tensorboard

    def _make(self) -> Any:
        handler = None
        if self._save_tensorboard:
            folder = os.path.join(self._output_dir, "log", f"profiler-tensorboard-iter{self.trainer.iter}")
            handler = torch.profiler.tensorboard_trace_handler(folder, f"worker{comm.get_rank()}")
        return torch.profiler.profile(
            activities=self._activities,
            on_trace_ready=handler,
            record_shapes=True,
            profile_memory=True,
            with_stack=True,
            with_flops=True,
        )


class AutogradProfiler(_Profiler):
    """Profiles steps with the older ``torch.autograd.profiler``."""

    def __init__(self, enable_predicate: Predicate, output_dir: str, *, use_cuda: bool = True) -> None:
        """Choose the steps.

        Args:
            enable_predicate: takes the trainer and tells whether to profile its next step.
            output_dir: where the traces go.
            use_cuda: whether to time kernels on the GPU.
        """
        warnings.warn("AutogradProfiler is the older one of the two: use TorchProfiler.", stacklevel=2)
        super().__init__(enable_predicate, output_dir)
        self._use_cuda = use_cuda

    def _make(self) -> Any:
        device = "cuda" if self._use_cuda and torch.cuda.is_available() else None
        return torch.autograd.profiler.profile(use_device=device)


class TorchMemoryStats(HookBase):
    """Logs the GPU memory in use every ``period`` iterations, ``max_runs`` times."""

    def __init__(self, period: int = 20, max_runs: int = 10) -> None:
        """Set how often.

        Args:
            period: iterations between lines.
            max_runs: how many lines.
        """
        self._period = period
        self._left = max_runs

    def after_step(self) -> None:
        """Log if it is time."""
        done = self.trainer.iter + 1
        due = done % self._period == 0 or done == self.trainer.max_iter
        if not due or self._left <= 0 or not torch.cuda.is_available():
            return
        self._left -= 1
        logger.info(
            " iter: %d  max_reserved_mem: %.0fMB  reserved_mem: %.0fMB  max_allocated_mem: %.0fMB  "
            "allocated_mem: %.0fMB",
            self.trainer.iter,
            torch.cuda.max_memory_reserved() / 2**20,
            torch.cuda.memory_reserved() / 2**20,
            torch.cuda.max_memory_allocated() / 2**20,
            torch.cuda.memory_allocated() / 2**20,
        )
        if self._left == 0:
            logger.info("\n%s", torch.cuda.memory_summary())
        torch.cuda.reset_peak_memory_stats()
