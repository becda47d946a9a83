"""Running a model over a dataset."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pytest
import torch
from torch import nn

from cardamage.errors import EvaluationError
from cardamage.evaluation import DatasetEvaluator, DatasetEvaluators, inference_context, inference_on_dataset


class Doubler(nn.Module):
    """Returns twice its input and notes how it was called."""

    def __init__(self) -> None:
        super().__init__()
        self.mask_output = "bitmask"
        self.calls: list[tuple[bool, bool, str]] = []

    def forward(self, batch: list[dict[str, int]]) -> list[dict[str, int]]:
        self.calls.append((self.training, torch.is_grad_enabled(), self.mask_output))
        return [{"y": 2 * record["x"]} for record in batch]


class Collect(DatasetEvaluator):
    def __init__(self, task: str = "sum") -> None:
        self.task, self.resets, self.seen = task, 0, [(99, 99)]

    def reset(self) -> None:
        self.resets += 1
        self.seen = []

    def process(self, inputs: Sequence[Mapping[str, Any]], outputs: Sequence[Mapping[str, Any]]) -> None:
        self.seen += [(i["x"], o["y"]) for i, o in zip(inputs, outputs, strict=True)]

    def evaluate(self) -> dict[str, Any]:
        return {self.task: {"AP": sum(y for _, y in self.seen)}}


BATCHES = [[{"x": 1}, {"x": 2}], [{"x": 3}]]


@pytest.mark.parametrize("training", [True, False])
def test_inference_on_dataset(training: bool) -> None:
    model, evaluator = Doubler().train(training), Collect()
    assert inference_on_dataset(model, BATCHES, evaluator) == {"sum": {"AP": 12}}
    assert evaluator.resets == 1
    assert evaluator.seen == [(1, 2), (2, 4), (3, 6)]
    assert model.calls == [(False, False, "rle")] * 2
    assert (model.training, model.mask_output) == (training, "bitmask")


def test_list_none_and_plain_function() -> None:
    results = inference_on_dataset(Doubler(), BATCHES, [Collect("a"), Collect("b")])
    assert results == {"a": {"AP": 12}, "b": {"AP": 12}}
    assert inference_on_dataset(Doubler(), BATCHES, None) == {}
    assert inference_on_dataset(lambda b: [{"y": 0}] * len(b), BATCHES, Collect()) == {"sum": {"AP": 0}}
    assert inference_on_dataset(Doubler(), [], Collect()) == {"sum": {"AP": 0}}


def test_callbacks() -> None:
    called: list[str] = []
    names = ("on_start", "before_inference", "after_inference", "on_end")
    inference_on_dataset(Doubler(), BATCHES, None, {n: lambda n=n: called.append(n) for n in names})
    assert called == ["on_start", *("before_inference", "after_inference") * 2, "on_end"]


def test_error_in_the_model_restores_it() -> None:
    class Failing(Doubler):
        def forward(self, batch: list[dict[str, int]]) -> list[dict[str, int]]:
            raise RuntimeError("stop")

    model = Failing().train()
    with pytest.raises(RuntimeError, match="stop"):
        inference_on_dataset(model, BATCHES, Collect())
    assert (model.training, model.mask_output) == (True, "bitmask")


def test_loader_without_length() -> None:
    def stream() -> Iterator[Any]:
        yield from BATCHES

    with pytest.raises(EvaluationError, match="needs a data loader with a length, generator has none"):
        inference_on_dataset(Doubler(), stream(), None)


def test_same_task_twice() -> None:
    with pytest.raises(EvaluationError, match="Two evaluators return results for 'sum'"):
        DatasetEvaluators([Collect(), Collect()]).evaluate()


def test_time_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        inference_on_dataset(Doubler(), BATCHES * 4, None)
    assert caplog.messages[-1].startswith("Inference of 8 batches took 0:00:0")
    assert "data 0." in caplog.messages[-1]


def test_inference_context() -> None:
    model = nn.Dropout().train()
    with inference_context(model):
        assert not model.training
    assert model.training
