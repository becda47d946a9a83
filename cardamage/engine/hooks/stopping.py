"""Ending a training when the system asks for it."""

from __future__ import annotations

import logging
import signal
import threading
from types import FrameType
from typing import Any

import torch
import torch.distributed as dist

from cardamage.checkpoint import Checkpointer
from cardamage.engine.trainer_base import HookBase
from cardamage.utils import comm

__all__ = ["TERMINATED", "StopOnSignal"]

logger = logging.getLogger(__name__)

TERMINATED = 143
"""The exit code after SIGTERM: 128 plus the signal's number, as of a shell."""


class StopOnSignal(HookBase):
    """On SIGTERM finishes the step, saves a checkpoint and exits with code 143, on all ranks together.

    Register it last and on all ranks, so that the checkpoint knows everything of its iteration.
    """

    def __init__(self, checkpointer: Checkpointer, period: int = 1, file_prefix: str = "model") -> None:
        """Set how often the ranks talk about it.

        Args:
            checkpointer: what saves.
            period: iterations between the ranks' agreements; each waits for the device.
            file_prefix: the file is ``<prefix>_<iteration>.pth``.
        """
        self._checkpointer = checkpointer
        self._period = period
        self._file_prefix = file_prefix
        self._asked = False
        self._previous: Any = None
        self._installed = False

    def before_train(self) -> None:
        """Take the signal over; only a main thread can."""
        if threading.current_thread() is threading.main_thread():
            self._previous = signal.signal(signal.SIGTERM, self._on_signal)
            self._installed = True

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self._asked = True

    def after_step(self) -> None:
        """Save and leave if any rank was asked to.

        Raises:
            SystemExit: with code 143.
        """
        if not self._any_rank_asked():
            return
        iteration = self.trainer.iter
        if iteration + 1 < self.trainer.max_iter:
            logger.info("SIGTERM: saving a checkpoint after iteration %d and leaving.", iteration)
            self.trainer.prepare_checkpoint()
            self._checkpointer.save(f"{self._file_prefix}_{iteration:07d}", iteration=iteration)
        else:
            logger.info("SIGTERM after the last iteration: its checkpoint is saved already.")
        comm.synchronize()
        raise SystemExit(TERMINATED)

    def _any_rank_asked(self) -> bool:
        if comm.get_world_size() == 1:
            return self._asked
        if (self.trainer.iter + 1) % self._period != 0:
            return False
        device = "cuda" if dist.get_backend() == "nccl" else "cpu"
        flag = torch.tensor([float(self._asked)], device=device)
        dist.all_reduce(flag, op=dist.ReduceOp.MAX)
        return bool(flag.item())

    def after_train(self) -> None:
        """Give the signal back."""
        if self._installed:
            signal.signal(signal.SIGTERM, self._previous)
            self._installed = False
