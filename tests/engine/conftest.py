"""A model small enough to train in a test, and endless batches for it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import nn


class TinyModel(nn.Module):
    """Two losses of a linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(4, 2)
        self.norm = nn.BatchNorm1d(2)

    def forward(self, batch: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
        x = torch.stack([item["x"] for item in batch])
        out = self.norm(self.fc(x))
        # Its own random numbers, as the sampling of regions draws them.
        return {"loss_a": (out - 1).square().mean(), "loss_b": (self.fc(x) * torch.rand(2)).abs().mean()}


class TinyLoader:
    """Batches that depend on their number alone."""

    def __init__(self, poison: int | None = None) -> None:
        self.start, self.poison = 0, poison

    def skip(self, batches: int) -> None:
        self.start = batches

    def __iter__(self) -> Iterator[list[dict[str, Any]]]:
        number = self.start
        while True:
            generator = torch.Generator().manual_seed(number)
            value = float("nan") if number == self.poison else 1.0
            yield [
                {
                    "x": torch.rand(4, generator=generator) * value,
                    "file_name": f"/photos/{number}_{index}.jpg",
                }
                for index in range(3)
            ]
            number += 1


@pytest.fixture
def tiny() -> Callable[..., tuple[nn.Module, TinyLoader, torch.optim.Optimizer]]:
    """Return a function that makes model, loader and optimizer, always the same ones."""

    def make(
        poison: int | None = None, lr: float = 0.05
    ) -> tuple[nn.Module, TinyLoader, torch.optim.Optimizer]:
        torch.manual_seed(0)
        model = TinyModel()
        return model, TinyLoader(poison), torch.optim.SGD(model.parameters(), lr=lr, momentum=0.9)

    return make
