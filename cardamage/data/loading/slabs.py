"""Shared memory that a worker process uses again and again.

Fresh memory costs a page fault every 4 KiB, in the worker and again where it is read, which takes longer than
the copy itself. Here the process that got a batch tells, by the first byte of its memory, when it is done.
"""

from __future__ import annotations

import os
import secrets
import weakref
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import torch

__all__ = ["Slab", "borrow", "forget", "take"]

_HEADER = 512
_STEP = 2**20


class Slab(NamedTuple):
    """A piece of shared memory and who made it.

    Attributes:
        worker: the process that writes to it.
        number: a random name of its own; processes' numbers come again.
        memory: uint8; the first byte tells whether it is in use, values begin at the 512th.
    """

    worker: int
    number: int
    memory: torch.Tensor

    @property
    def values(self) -> torch.Tensor:
        """What may be written to."""
        return self.memory[_HEADER:]


_own: list[Slab] = []
_seen: dict[int, Slab] = {}


def take(size: int) -> Slab:
    """Return memory that nobody uses, for a batch to send.

    Args:
        size: bytes needed.

    Returns:
        A slab of this process, in use until all that was borrowed from it in another process is gone.
    """
    _own[:] = [slab for slab in _own if slab.worker == os.getpid()]  # not those from before a fork
    free = [slab for slab in _own if not int(slab.memory[0])]
    fitting = [slab for slab in free if len(slab.values) >= size]
    if not fitting:
        # Those free ones are too small; keeping them would add up.
        _own[:] = [slab for slab in _own if all(slab is not other for other in free)]
        rounded = -(-(size + _HEADER) // _STEP) * _STEP
        storage = torch.UntypedStorage._new_shared(rounded)
        memory = torch.empty(0, dtype=torch.uint8).set_(storage)
        fitting = [Slab(os.getpid(), secrets.randbits(62), memory)]
        _own.extend(fitting)
    slab = min(fitting, key=lambda one: len(one.memory))
    slab.memory[0] = 1
    return slab


def borrow(slab: Slab) -> torch.Tensor:
    """Return a received slab's values.

    Args:
        slab: as it came from its worker.

    Returns:
        uint8; once it and all of its views are gone, the worker may write there again.
    """
    if slab.number not in _seen:
        forget({one.worker for one in _seen.values() if not _is_alive(one.worker)})
        _seen[slab.number] = slab
    memory = _seen[slab.number].memory.numpy()
    values = memory[_HEADER:]
    weakref.finalize(values, _release, memory, os.getpid()).atexit = False
    return torch.from_numpy(values)


def _release(memory: np.ndarray, borrower: int) -> None:
    # A process forked while the values were in use has a copy of them, whose end means nothing.
    if os.getpid() == borrower:
        memory[0] = 0


def forget(workers: Iterable[int]) -> None:
    """Let go of the slabs of worker processes that have ended; what was borrowed stays good."""
    gone = set(workers)
    for number in [number for number, slab in _seen.items() if slab.worker in gone]:
        del _seen[number]


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
