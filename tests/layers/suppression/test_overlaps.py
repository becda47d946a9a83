"""Overlaps, and suppression by them, against plain loops in float64."""

from __future__ import annotations

import random

import pytest
import torch

from cardamage.layers import greedy_keep
from cardamage.layers.suppression import overlaps as overlaps_module
from cardamage.layers.suppression.overlaps import earlier_overlaps, overlaps

SEED = random.randrange(10**6)
# Names of tests must be the same in all processes that run them.
FRESH = pytest.param(SEED, id="fresh")


def iou(a: list[float], b: list[float]) -> float:
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0.0
    common = width * height
    return common / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - common)


def diou(a: list[float], b: list[float]) -> float:
    across, down = max(a[2], b[2]) - min(a[0], b[0]), max(a[3], b[3]) - min(a[1], b[1])
    right, below = (a[0] + a[2] - b[0] - b[2]) / 2, (a[1] + a[3] - b[1] - b[3]) / 2
    diagonal = across**2 + down**2
    return iou(a, b) - ((right**2 + below**2) / diagonal if diagonal else 0.0)


def grid_boxes(groups: int, size: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Boxes on a coarse grid, so that many are equal or without area; which count, others are not numbers."""
    generator = torch.Generator().manual_seed(seed)
    corners = torch.randint(0, 12, (groups, size, 2), generator=generator)
    sides = torch.randint(0, 8, (groups, size, 2), generator=generator)
    boxes = torch.cat((corners, corners + sides), dim=2).float() * 7.3
    alive = torch.rand(groups, size, generator=generator) < 0.85
    return boxes.masked_fill(~alive[..., None], torch.nan), alive


def greedy(boxes: list[list[float]], threshold: float) -> list[int]:
    kept: list[int] = []
    for place, box in enumerate(boxes):
        if all(diou(boxes[other], box) <= threshold for other in kept):
            kept.append(place)
    return kept


@pytest.mark.parametrize("seed", [0, FRESH])
def test_overlaps_equal_plain_loops(seed: int) -> None:
    boxes = grid_boxes(1, 40, seed)[0][0].nan_to_num().double()
    places = boxes.tolist()
    for centres, measure in ((False, iou), (True, diou)):
        expected = torch.tensor([[measure(a, b) for b in places] for a in places], dtype=torch.float64)
        got = overlaps(boxes[:, None], boxes[None], centres)
        torch.testing.assert_close(got, expected, rtol=1e-12, atol=1e-12)
        if not centres:
            assert torch.equal(got, got.T)


@pytest.mark.parametrize("device_pairs", [1, 1000, 2**16])
def test_blocks_cover_every_pair_once(device_pairs: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(overlaps_module._MAX_PAIRS, "cpu", device_pairs)
    boxes, alive = grid_boxes(3, 90, 1)
    found = torch.full((3, 90, 90), -2.0)
    for block in earlier_overlaps(boxes, alive):
        part = found[block.groups, block.later, : block.later.stop]
        assert (part == -2).all()
        part.copy_(block.values)
    clean = boxes.nan_to_num()
    expected = overlaps(clean[:, :, None], clean[:, None]).tril(diagonal=-1)
    assert torch.equal(found.clamp(min=0), expected)
    assert (found.triu()[expected.triu() == 0] < 0).any()


@pytest.mark.parametrize("seed", [0, 1, FRESH])
@pytest.mark.parametrize(("groups", "size"), [(1, 1), (4, 33), (2, 200)])
@pytest.mark.parametrize("threshold", [0.0071, 0.303, 0.607])
def test_diou_suppression_equals_a_plain_loop(seed: int, groups: int, size: int, threshold: float) -> None:
    boxes, alive = grid_boxes(groups, size, seed)
    keep = greedy_keep(boxes, alive, threshold, centres=True)
    for group, used, kept in zip(boxes, alive, keep, strict=True):
        index = used.nonzero()[:, 0]
        expected = index[greedy(group[index].double().tolist(), threshold)]
        assert kept.nonzero()[:, 0].tolist() == expected.tolist()


def test_side_by_side_stays_and_the_same_place_goes() -> None:
    """Both overlap the first box by a third, one with its centre far off, one with the same centre."""
    boxes = torch.tensor([[[0.0, 0, 12, 12], [6, 0, 18, 12], [4, 0, 8, 12]]])
    alive = torch.ones(1, 3, dtype=torch.bool)
    assert greedy_keep(boxes, alive, 0.3, centres=True).tolist() == [[True, True, False]]
    assert greedy_keep(boxes, alive, 0.3).tolist() == [[True, False, False]]


def test_ten_thousand_boxes() -> None:
    generator = torch.Generator().manual_seed(SEED)
    corners = torch.rand(1, 10_000, 2, generator=generator) * 3000
    boxes = torch.cat((corners, corners + torch.rand(1, 10_000, 2, generator=generator) * 60), dim=2)
    alive = torch.ones(1, 10_000, dtype=torch.bool)
    keep = greedy_keep(boxes, alive, 0.2, centres=True)
    kept = boxes[0, keep[0]]
    measured = overlaps(kept[:500, None], kept[None], centres=True)
    assert (measured > 0.2).sum() == 500
    assert 100 < keep.sum() < 10_000
