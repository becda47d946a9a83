"""Where time goes: parts in order, adding up to the whole."""

from __future__ import annotations

import time

import pytest
import torch
from torch import nn

from cardamage.benchmark.marks import Marks, marked

CPU = torch.device("cpu")


class Model(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.trunk = nn.Linear(4, 4)
        self.head = nn.Linear(4, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        time.sleep(0.01)
        return self.head(self.trunk(x)).sum()


def step(model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    optimizer.zero_grad()
    model(torch.ones(2, 4)).backward()
    optimizer.step()


@pytest.mark.parametrize("compiled", [False, True])
def test_every_part_is_told_apart(compiled: bool) -> None:
    model = Model()
    if compiled:
        model.trunk.compile(backend="eager")
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    step(model, optimizer)
    marks = Marks(CPU)
    parts = {"trunk": model.trunk, "head": model.head}
    with marked(lambda: marks, model, parts, optimizer):
        marks = Marks(CPU)
        step(model, optimizer)
        marks.end("after")
    found = marks.parts()
    assert list(found) == ["waiting", "prep", "trunk", "rest", "head", "backward", "optimizer", "after"]
    assert sum(found.values()) == pytest.approx(marks.total(), abs=1e-9)
    assert found["prep"] >= 0.01
    assert all(seconds >= 0 for seconds in found.values())


def test_nothing_is_left_on_the_model() -> None:
    model = Model()
    model.trunk.compile(backend="eager")
    compiled = model.trunk._compiled_call_impl
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    marks = Marks(CPU)
    with marked(lambda: marks, model, {"trunk": model.trunk}, optimizer):
        pass
    step(model, optimizer)
    assert marks.parts() == {}
    assert model.trunk._compiled_call_impl is compiled


def test_a_name_that_comes_twice_is_one_part() -> None:
    marks = Marks(CPU)
    for name in ("a", "b", "a"):
        time.sleep(0.002)
        marks.end(name)
    found = marks.parts()
    assert list(found) == ["a", "b"]
    assert found["a"] >= 0.004
    assert sum(found.values()) == pytest.approx(marks.total(), abs=1e-9)
