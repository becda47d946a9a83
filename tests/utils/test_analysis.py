"""Counts of small models, worked out by hand."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from cardamage.structures import Boxes, Instances
from cardamage.utils.analysis import (
    FlopCountAnalysis,
    activation_count_operators,
    find_unused_parameters,
    flop_count_operators,
    parameter_count,
    parameter_count_table,
)


class Detector(nn.Module):
    """Takes and gives what detectors do."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, padding=1)
        self.fc = nn.Linear(8, 4)
        self.spare = nn.Linear(2, 2)

    def forward(self, inputs: list[dict[str, Any]]) -> Any:
        features = [self.conv(one["image"][None]).relu() for one in inputs]
        pooled = [feature.mean(dim=(2, 3)) for feature in features]
        if self.training:
            return {"loss_a": self.fc(pooled[0]).sum(), "loss_b": pooled[0].sum()}
        sizes = [(one["height"], 7) for one in inputs]
        boxes = [Boxes(self.fc(p)) for p in pooled]
        return [{"instances": Instances(s, pred_boxes=b)} for s, b in zip(sizes, boxes, strict=True)]


INPUTS = [{"image": torch.rand(3, 20, 10), "height": 20, "name": "car.jpg"}]


def test_multiply_adds() -> None:
    counts = flop_count_operators(Detector(), INPUTS)
    assert counts["conv"] == pytest.approx(20 * 10 * 8 * 3 * 9 / 1e9)
    assert counts["linear"] == pytest.approx(8 * 4 / 1e9)


def test_counts_by_module_keep_the_mode() -> None:
    model = Detector().eval()
    by_module = FlopCountAnalysis(model, (INPUTS * 2,)).by_module()
    assert by_module["model.conv"] == 2 * 20 * 10 * 8 * 3 * 9
    assert by_module["model.fc"] == 2 * 8 * 4
    model.train()
    flop_count_operators(model, INPUTS)
    assert model.training


def test_activations() -> None:
    counts = activation_count_operators(Detector(), INPUTS)
    assert counts["conv"] == pytest.approx(20 * 10 * 8 / 1e6)
    assert counts["linear"] == pytest.approx(4 / 1e6)


def test_parameters() -> None:
    counts = parameter_count(Detector())
    assert counts["conv"] == 8 * 27 + 8
    assert counts[""] == 8 * 27 + 8 + 8 * 4 + 4 + 6
    assert "conv" in parameter_count_table(Detector())


def test_unused_parameters() -> None:
    model = Detector().train()
    assert find_unused_parameters(model, INPUTS) == ["spare.weight", "spare.bias"]
    assert find_unused_parameters(model, (INPUTS,)) == ["spare.weight", "spare.bias"]
    assert all(parameter.grad is None for parameter in model.parameters())
    with pytest.raises(ValueError, match=r"call model.train\(\) first"):
        find_unused_parameters(model.eval(), INPUTS)
    single = nn.Sequential(nn.Linear(3, 1))
    assert find_unused_parameters(single, torch.rand(1, 3)) == []
