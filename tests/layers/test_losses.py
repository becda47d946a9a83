"""Losses of boxes against the paper's formulas in Python's floats."""

from __future__ import annotations

import math

import pytest
import torch

from cardamage.layers import ciou_loss, diou_loss


def _by_hand(a: list[float], b: list[float]) -> tuple[float, float]:
    """Return the distance and the complete IoU loss (Zheng 2020, equations 7 and 10)."""
    overlap = [max(0.0, min(a[i + 2], b[i + 2]) - max(a[i], b[i])) for i in (0, 1)]
    (wa, ha), (wb, hb) = ((c[2] - c[0], c[3] - c[1]) for c in (a, b))
    intersection = overlap[0] * overlap[1]
    iou = intersection / (wa * ha + wb * hb - intersection)
    diagonal = sum((max(a[i + 2], b[i + 2]) - min(a[i], b[i])) ** 2 for i in (0, 1))
    distance = sum(((a[i] + a[i + 2] - b[i] - b[i + 2]) / 2) ** 2 for i in (0, 1))
    diou = 1 - iou + distance / diagonal
    v = 4 / math.pi**2 * (math.atan(wb / hb) - math.atan(wa / ha)) ** 2
    return diou, diou + v * v / (1 - iou + v) if v else diou


def _pairs(seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    numbers = torch.rand(2, 40, 4, generator=torch.Generator().manual_seed(seed)) * 50
    numbers[..., 2:] += numbers[..., :2] + 0.5
    return numbers[0], numbers[1]


@pytest.mark.parametrize("seed", range(3))
def test_random_boxes(seed: int) -> None:
    first, second = _pairs(seed)
    expected = torch.tensor([_by_hand(a, b) for a, b in zip(first.tolist(), second.tolist(), strict=True)])
    for loss, column in ((diou_loss, 0), (ciou_loss, 1)):
        torch.testing.assert_close(loss(first, second), expected[:, column], rtol=1e-4, atol=1e-5)
        total = loss(first, second, reduction="sum")
        torch.testing.assert_close(total, expected[:, column].sum(), rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(loss(first, second, "mean"), total / 40)


@pytest.mark.parametrize("loss", [diou_loss, ciou_loss])
def test_equal_and_no_boxes(loss: type) -> None:
    one = torch.tensor([[3.0, 3.0, 4.0, 4.0]])
    assert loss(one, one).item() == pytest.approx(0, abs=1e-5)
    nothing = torch.zeros(0, 4, requires_grad=True)
    mean = loss(nothing, torch.zeros(0, 4), reduction="mean")
    mean.backward()
    assert mean.item() == 0
