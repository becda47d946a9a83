"""What a dead or starved loader worker says."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from typing import Any

import pytest
from torch.utils.data import DataLoader, Dataset

from cardamage.engine.worker_errors import next_batch
from cardamage.errors import TrainingError


class Dies(Dataset[int]):
    """Its worker gets a signal when it reads."""

    def __init__(self, number: signal.Signals) -> None:
        self.number = number

    def __len__(self) -> int:
        return 4

    def __getitem__(self, index: int) -> int:
        os.kill(os.getpid(), self.number)
        return index


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGBUS])
def test_a_killed_worker_is_explained(number: signal.Signals) -> None:
    with pytest.raises(
        TrainingError, match="lower DATALOADER.NUM_WORKERS, and in a container .* shared memory"
    ):
        next_batch(iter(DataLoader(Dies(number), num_workers=1)))


def test_other_errors_stay_as_they_are() -> None:
    def broken() -> Iterator[Any]:
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")
        yield

    with pytest.raises(RuntimeError, match="mat1 and mat2"):
        next_batch(broken())
    with pytest.raises(TrainingError, match="it must be endless"):
        next_batch(iter(()))
