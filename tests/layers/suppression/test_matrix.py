"""Fast, matrix and Cluster-NMS against plain loops in float64 over their papers' formulas."""

from __future__ import annotations

import math
import random

import pytest
import torch

from cardamage.layers import greedy_keep
from cardamage.layers.suppression import cluster_nms_scores, fast_keep, matrix_nms_scores
from cardamage.layers.suppression import overlaps as overlaps_module

from .test_overlaps import grid_boxes, iou

SEED = random.randrange(10**6)
# Names of tests must be the same in all processes that run them.
FRESH = pytest.param(SEED, id="fresh")
SHAPES = [(1, 1), (5, 33), (2, 150)]


def _matrix(boxes: list[list[float]], method: str, sigma: float) -> list[float]:
    def f(value: float) -> float:
        return 1 - value if method == "linear" else math.exp(-(value**2) / sigma)

    nearest = [max((iou(boxes[k], boxes[i]) for k in range(i)), default=0.0) for i in range(len(boxes))]
    factors = []
    for j in range(len(boxes)):
        ratios = [f(iou(boxes[i], boxes[j])) / f(nearest[i]) for i in range(j) if f(nearest[i]) > 0]
        factors.append(min(ratios, default=1.0))
    return factors


def _cluster(boxes: list[list[float]], threshold: float, sigma: float) -> list[float]:
    kept: list[int] = []
    factors = []
    for j, box in enumerate(boxes):
        found = [iou(boxes[i], box) for i in kept]
        factors.append(math.exp(-sum(value**2 for value in found) / sigma))
        if all(value <= threshold for value in found):
            kept.append(j)
    return factors


def _scores(alive: torch.Tensor, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(alive.shape, generator=generator).sort(dim=1, descending=True).values


@pytest.fixture(params=[1, 2000, 2**16])
def _pairs(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(overlaps_module._MAX_PAIRS, "cpu", request.param)


@pytest.mark.usefixtures("_pairs")
@pytest.mark.parametrize("seed", [0, FRESH])
@pytest.mark.parametrize(("groups", "size"), SHAPES)
def test_new_scores_equal_plain_loops(seed: int, groups: int, size: int) -> None:
    boxes, alive = grid_boxes(groups, size, seed)
    scores = _scores(alive, seed)
    found = {
        "linear": matrix_nms_scores(boxes, scores, alive, "linear"),
        "gaussian": matrix_nms_scores(boxes, scores, alive, "gaussian", 0.3),
        "cluster": cluster_nms_scores(boxes, scores, alive, 0.413, 0.3),
    }
    for row, used in enumerate(alive):
        places = boxes[row, used].double().tolist()
        expected = {
            "linear": _matrix(places, "linear", 0.3),
            "gaussian": _matrix(places, "gaussian", 0.3),
            "cluster": _cluster(places, 0.413, 0.3),
        }
        for name, values in found.items():
            wanted = torch.tensor(expected[name], dtype=torch.float64) * scores[row, used].double()
            torch.testing.assert_close(values[row, used].double(), wanted, rtol=2e-5, atol=1e-6)
            assert not values[row, ~used].any()


@pytest.mark.usefixtures("_pairs")
@pytest.mark.parametrize("seed", [0, FRESH])
@pytest.mark.parametrize(("groups", "size"), SHAPES)
@pytest.mark.parametrize("threshold", [0.0, 0.447])
def test_what_stays_equals_plain_loops(seed: int, groups: int, size: int, threshold: float) -> None:
    boxes, alive = grid_boxes(groups, size, seed)
    fast = fast_keep(boxes, alive, threshold)
    for row, used in enumerate(alive):
        places = boxes[row, used].double().tolist()
        expected = [all(iou(a, b) <= threshold for a in places[:j]) for j, b in enumerate(places)]
        assert fast[row, used].tolist() == expected
    assert not fast[~alive].any()
    hard = greedy_keep(boxes, alive, threshold)
    assert torch.equal(greedy_keep(boxes, alive, threshold, rounds=True), hard)
    assert not (fast & ~hard).any()


def test_a_chain_of_three() -> None:
    """The first box drops the second, which drops the third all the same in fast NMS, but not in hard NMS."""
    boxes = torch.tensor([[[0.0, 0, 10, 10], [4, 0, 14, 10], [8, 0, 18, 10]]])
    alive = torch.ones(1, 3, dtype=torch.bool)
    assert fast_keep(boxes, alive, 0.4).tolist() == [[True, False, False]]
    assert greedy_keep(boxes, alive, 0.4, rounds=True).tolist() == [[True, False, True]]
    # Overlaps 60/140 of neighbours, 20/180 of the ends.
    near, far = 60 / 140, 20 / 180
    found = matrix_nms_scores(boxes, torch.ones(1, 3), alive, "linear")
    expected = [1, 1 - near, min(1 - far, (1 - near) / (1 - near))]
    torch.testing.assert_close(found, torch.tensor([expected]))


def test_edges() -> None:
    for shape in ((0, 5), (2, 0), (2, 3, 4)):
        boxes, none = torch.zeros(*shape, 4), torch.zeros(shape, dtype=torch.bool)
        assert fast_keep(boxes, none, 0.5).shape == shape
        for found in (
            matrix_nms_scores(boxes, torch.ones(shape), none),
            cluster_nms_scores(boxes, torch.ones(shape), none),
        ):
            assert found.shape == shape
            assert not found.any()
    one = torch.zeros(1, 1, 4), torch.ones(1, 1), torch.ones(1, 1, dtype=torch.bool)
    with pytest.raises(ValueError, match="linear or gaussian"):
        matrix_nms_scores(*one, "cubic")
    with pytest.raises(ValueError, match="sigma above 0"):
        matrix_nms_scores(*one, "gaussian", 0.0)
    with pytest.raises(ValueError, match="above 0, got 0"):
        cluster_nms_scores(*one, 0.5, 0.0)


def test_ten_thousand_boxes() -> None:
    generator = torch.Generator().manual_seed(SEED)
    corners = torch.rand(1, 10_000, 2, generator=generator) * 3000
    boxes = torch.cat((corners, corners + torch.rand(1, 10_000, 2, generator=generator) * 60 + 1), dim=2)
    # The last one is the first one again: it keeps nothing of a score that falls linearly.
    boxes[0, -1] = boxes[0, 0]
    alive, scores = torch.ones(1, 10_000, dtype=torch.bool), torch.linspace(1, 0.5, 10_000)[None]
    assert not fast_keep(boxes, alive, 0.9)[0, -1]
    linear = matrix_nms_scores(boxes, scores, alive, "linear")[0]
    assert linear[0] == 1
    assert linear[-1] == 0
    assert (linear[:-1] > 0).float().mean() > 0.9
