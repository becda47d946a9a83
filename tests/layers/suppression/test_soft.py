"""Soft suppression equals a plain float64 loop over the paper's algorithm."""

from __future__ import annotations

import math
import random

import numpy as np
import pytest
import torch

from cardamage.layers import batched_soft_nms
from cardamage.layers.suppression import fading, soft_nms_scores

SEED = random.randrange(10**6)
# Names of tests must be the same in all processes that run them.
FRESH = pytest.param(SEED, id="fresh")


def _iou(a: list[float], b: list[float]) -> float:
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0.0
    inter = width * height
    return inter / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - inter)


def _reference(
    boxes: torch.Tensor, scores: torch.Tensor, method: str, sigma: float, iou_threshold: float, low: float
) -> list[float]:
    places, left = boxes.tolist(), dict(enumerate(scores.tolist()))
    result = [0.0] * len(places)
    while left:
        best = max(left, key=lambda i: (left[i], -i))
        score = left.pop(best)
        if score < low:
            break
        result[best] = score
        for other in left:
            iou = _iou(places[best], places[other])
            if method == "gaussian":
                left[other] *= math.exp(-iou * iou / sigma)
            elif iou >= iou_threshold:
                left[other] *= 1 - iou
    return result


def _boxes(count: int, seed: int, dtype: torch.dtype = torch.float64) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    corners = torch.rand(count, 2, generator=generator, dtype=dtype) * 100
    sides = torch.rand(count, 2, generator=generator, dtype=dtype) * 50
    return torch.cat((corners, corners + sides), dim=1), torch.rand(count, generator=generator, dtype=dtype)


@pytest.mark.parametrize("method", ["linear", "gaussian"])
@pytest.mark.parametrize(("count", "seed"), [(1, 0), (2, 1), (50, 2), (300, 3), (1000, 4)])
def test_equals_a_plain_loop(method: str, count: int, seed: int) -> None:
    boxes, scores = _boxes(count, seed)
    expected = _reference(boxes, scores, method, 0.5, 0.3, 0.01)
    valid = torch.ones(1, count, dtype=torch.bool)
    got = soft_nms_scores(boxes[None], scores[None], valid, method, 0.5, 0.3, 0.01)[0]
    torch.testing.assert_close(got, torch.tensor(expected, dtype=torch.float64), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("method", ["linear", "gaussian"])
def test_ties_go_to_the_first(method: str) -> None:
    boxes = torch.tensor(
        [[0.0, 0, 10, 10], [0, 0, 10, 10], [0, 0, 10, 5], [50, 50, 60, 60]], dtype=torch.float64
    )
    scores = torch.full((4,), 0.5, dtype=torch.float64)
    got = soft_nms_scores(
        boxes[None], scores[None], torch.ones(1, 4, dtype=torch.bool), method, 0.5, 0.3, 0.0
    )
    assert got[0].tolist() == pytest.approx(_reference(boxes, scores, method, 0.5, 0.3, 0.0))


@pytest.mark.parametrize("method", ["linear", "gaussian"])
def test_groups_are_independent(method: str) -> None:
    boxes, scores = _boxes(240, 7)
    groups = torch.randint(4, (240,), generator=torch.Generator().manual_seed(1))
    expected = torch.zeros(240, dtype=torch.float64)
    for group in range(4):
        part = groups == group
        expected[part] = torch.tensor(
            _reference(boxes[part], scores[part], method, 0.5, 0.3, 0.05), dtype=torch.float64
        )
    keep, kept = batched_soft_nms(boxes, scores, groups, method, 0.5, 0.3, 0.05)
    torch.testing.assert_close(kept, expected[keep], rtol=1e-9, atol=1e-12)
    assert sorted(keep.tolist()) == (expected > 0).nonzero().squeeze(1).tolist()
    assert (kept[1:] <= kept[:-1]).all()


@pytest.mark.parametrize("method", ["linear", "gaussian"])
@pytest.mark.parametrize("seed", [0, FRESH])
@pytest.mark.parametrize("low", [0.0, 0.05])
def test_groups_of_many_sizes_go_in_step(
    method: str, seed: int, low: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some are done early and some have no boxes; there are equal boxes and scores, and ones without area."""
    generator = torch.Generator().manual_seed(seed)
    boxes = torch.randint(0, 9, (7, 90, 4), generator=generator).double()
    boxes[..., 2:] += boxes[..., :2]
    scores = torch.randint(0, 30, (7, 90), generator=generator) / 29.0
    scores = scores.double()
    valid = torch.rand(7, 90, generator=generator) < torch.tensor([0, 0.02, 0.3, 0.9, 1, 0.5, 0.1])[:, None]
    boxes[~valid] = math.nan
    expected = torch.zeros_like(scores)
    for row, used in enumerate(valid):
        values = _reference(boxes[row, used], scores[row, used], method, 0.5, 0.3, low)
        expected[row, used] = torch.tensor(values, dtype=torch.float64)
    for limit in (1, 300, 2**16):
        monkeypatch.setattr(fading, "_MAX_BOXES", limit)
        got = soft_nms_scores(boxes, scores, valid, method, 0.5, 0.3, low)
        torch.testing.assert_close(got, expected, rtol=1e-9, atol=1e-12)


def test_an_overlap_at_the_threshold_fades() -> None:
    boxes = torch.tensor([[[0.0, 0, 10, 10], [0, 0, 10, 5]]])
    got = soft_nms_scores(boxes, torch.ones(1, 2), torch.ones(1, 2, dtype=torch.bool), "linear", 0.5, 0.5)
    assert got.tolist() == [[1.0, 0.5]]


def test_ten_thousand_boxes() -> None:
    boxes, scores = _boxes(10_000, SEED)
    boxes[:, :2] += torch.rand(10_000, 2, generator=torch.Generator().manual_seed(SEED)) * 1000
    boxes[:, 2:] = boxes[:, :2] + 40
    valid = torch.ones(1, 10_000, dtype=torch.bool)
    got = soft_nms_scores(boxes[None], scores[None], valid, score_threshold=0.9)[0]
    places, left = boxes.numpy(), scores.numpy().copy()
    expected = np.zeros(10_000)
    while left.max() >= 0.9:
        best = left.argmax()
        expected[best], left[best] = left[best], -1
        low, high = np.maximum(places[:, :2], places[best, :2]), np.minimum(places[:, 2:], places[best, 2:])
        common = (high - low).clip(0).prod(axis=1)
        left *= np.exp(-((common / (2 * 40**2 - common)) ** 2) / 0.5)
    np.testing.assert_allclose(got, expected, rtol=1e-8, atol=1e-12)


def test_invalid_and_no_boxes() -> None:
    boxes, scores = _boxes(6, 3, torch.float32)
    valid = torch.tensor([[True, False, True, True, False, False]])
    got = soft_nms_scores(boxes[None], scores[None], valid)
    alone = soft_nms_scores(boxes[None][:, valid[0]], scores[None][:, valid[0]], valid[:, valid[0]])
    assert torch.equal(got[valid], alone[0])
    assert not got[~valid].any()
    assert soft_nms_scores(
        torch.zeros(0, 3, 4), torch.zeros(0, 3), torch.zeros(0, 3, dtype=torch.bool)
    ).shape == (0, 3)
    assert soft_nms_scores(
        torch.zeros(2, 0, 4), torch.zeros(2, 0), torch.zeros(2, 0, dtype=torch.bool)
    ).shape == (2, 0)
    keep, kept = batched_soft_nms(torch.zeros(0, 4), torch.zeros(0), torch.zeros(0, dtype=torch.int64))
    assert len(keep) == len(kept) == 0
    assert soft_nms_scores(boxes[None].half(), scores[None].half(), valid).dtype == torch.float32


def test_bad_settings_are_refused() -> None:
    arguments = (torch.zeros(1, 1, 4), torch.zeros(1, 1), torch.ones(1, 1, dtype=torch.bool))
    with pytest.raises(ValueError, match="no soft-NMS method 'cubic': use one of linear, gaussian"):
        soft_nms_scores(*arguments, "cubic")
    with pytest.raises(ValueError, match="sigma of gaussian soft-NMS must be above 0"):
        soft_nms_scores(*arguments, "gaussian", 0.0)
