"""Random states that depend on the run's seed and a sample's place only.

Augmentations draw from numpy's, Python's and torch's global generators. Seeding these for each sample makes
what comes out the same for any number of worker processes, and the same again after a run was resumed.
"""

from __future__ import annotations

import contextlib
import random
from collections.abc import Iterator
from typing import Any

import cv2
import numpy as np
import torch

from cardamage.utils.env import seed_all_rng

__all__ = ["batch_draws", "seeded", "worker_init_reset_seed"]

_MASK_64 = 2**64 - 1
_MASK_32 = 2**32 - 1
_shared: list[np.random.RandomState] = []


def batch_draws() -> Any:
    """Return what augmentations that decide a picture's size draw from.

    Returns:
        Numpy's global generator, or within :func:`seeded` with a batch, a generator that gives all samples of
        the batch the same numbers; both have ``randint`` and ``choice``.
    """
    return _shared[-1] if _shared else np.random


@contextlib.contextmanager
def seeded(seed: int, position: int, batch: int | None = None) -> Iterator[None]:
    """Seed the three global CPU generators for one sample, and give them back as they were afterwards.

    Args:
        seed: the run's seed; any integer.
        position: the sample's place in the stream, from 0.
        batch: the number of its batch, for :func:`batch_draws`; None for samples that draw alone.

    Yields:
        Nothing.
    """
    words = np.random.SeedSequence((seed & _MASK_64, position)).generate_state(8, np.uint32)
    before = np.random.get_state(), random.getstate(), torch.get_rng_state()
    np.random.seed(words[:4])
    random.seed(words[4:6].tobytes())
    # Not torch.manual_seed: that would also reseed the devices, which the training step draws from.
    torch.default_generator.manual_seed(int(words[6:].view(np.uint64)[0]))
    if batch is not None:
        _shared.append(np.random.RandomState([seed >> 32 & _MASK_32, seed & _MASK_32, batch & _MASK_32]))
    try:
        yield
    finally:
        if batch is not None:
            _shared.pop()
        np.random.set_state(before[0])
        random.setstate(before[1])
        torch.set_rng_state(before[2])


def worker_init_reset_seed(worker_id: int) -> None:
    """Prepare a loader's worker process: its own random state, and no threads inside OpenCV.

    Args:
        worker_id: number of the worker, from 0.
    """
    # Worker processes are the parallelism; OpenCV's pool, if the parent had one, did not survive the fork.
    cv2.setNumThreads(0)
    seed_all_rng((torch.initial_seed() + worker_id) % 2**31)
