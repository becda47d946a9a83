"""The peak of a run whose memory is known."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from cardamage.benchmark.memory import peak_memory, used_memory

CPU = torch.device("cpu")
MEGABYTE = 2**20


def test_memory_that_is_freed_before_the_end_counts() -> None:
    if peak_memory(lambda: None, CPU) is None:
        pytest.skip("this system doesn't tell a process's peak")
    peak = peak_memory(lambda: np.ones(128 * MEGABYTE, np.uint8).sum(), CPU)
    assert peak is not None
    assert 120 * MEGABYTE < peak < 200 * MEGABYTE


def test_doing_nothing_takes_next_to_nothing() -> None:
    peak = peak_memory(lambda: None, CPU)
    assert peak is None or peak < 8 * MEGABYTE


def test_the_process_uses_memory() -> None:
    used = used_memory(CPU)
    assert used is None or used > 8 * MEGABYTE
