from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from cardamage.layers.point_sampling import (
    grid_points,
    place_in_boxes,
    sample_maps,
    uncertain_cells,
    uncertain_points,
)


def _bilinear(image: np.ndarray, x: float, y: float) -> np.ndarray:
    """Read one (C, H, W) map at one place, cell by cell."""
    total = np.zeros(image.shape[0])
    column, row = math.floor(x - 0.5), math.floor(y - 0.5)
    for j in (row, row + 1):
        for i in (column, column + 1):
            if 0 <= j < image.shape[1] and 0 <= i < image.shape[2]:
                total += image[:, j, i] * (1 - abs(x - 0.5 - i)) * (1 - abs(y - 0.5 - j))
    return total


@pytest.mark.parametrize("last", [False, True])
def test_samples_equal_a_loop_in_float64(last: bool, fresh_seed: int) -> None:
    rng = np.random.default_rng(fresh_seed)
    maps = rng.normal(size=(3, 4, 5, 7))
    owner = rng.integers(0, 3, 6)
    points = rng.uniform(-2, 9, (6, 50, 2))
    # Centres, borders and corners, too.
    points[0, :20] = rng.integers(-1, 8, (20, 2)) + rng.choice([0.0, 0.5], (20, 2))
    tensor = torch.from_numpy(maps)
    if last:
        tensor = tensor.contiguous(memory_format=torch.channels_last)
    found = sample_maps(tensor, torch.from_numpy(owner), torch.from_numpy(points))
    wanted = [[_bilinear(maps[o], *place) for place in row] for o, row in zip(owner, points, strict=True)]
    np.testing.assert_allclose(found.numpy(), np.array(wanted), rtol=1e-12, atol=1e-12)


def test_samples_equal_grid_sample(fresh_seed: int) -> None:
    torch.manual_seed(fresh_seed)
    maps, points = torch.randn(4, 8, 9, 13), torch.rand(4, 100, 2) * 1.4 - 0.2
    wanted = F.grid_sample(maps, points[:, :, None] * 2 - 1, align_corners=False)[..., 0].transpose(1, 2)
    found = sample_maps(maps, torch.arange(4), points * torch.tensor([13.0, 9.0]))
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-5)


def test_gradients_are_right(fresh_seed: int) -> None:
    torch.manual_seed(fresh_seed)
    maps = torch.randn(2, 3, 4, 5, dtype=torch.float64, requires_grad=True)
    points = torch.rand(3, 7, 2, dtype=torch.float64) * 6 - 0.5
    owner = torch.tensor([1, 0, 1])
    assert torch.autograd.gradcheck(lambda m: sample_maps(m, owner, points), (maps,))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_keeps_its_dtype_and_adds_up_in_float32(dtype: torch.dtype) -> None:
    maps = torch.ones(1, 2, 3, 3, dtype=dtype, requires_grad=True)
    # 4096 ones: bfloat16 would stop to count at 256.
    points = torch.full((1, 4096, 2), 1.5)
    found = sample_maps(maps, torch.zeros(1, dtype=torch.int64), points)
    assert found.dtype == dtype
    found.sum().backward()
    assert maps.grad is not None
    assert maps.grad[0, :, 1, 1].tolist() == [4096, 4096]
    assert maps.grad.sum() == 8192


def test_no_points_no_rows_and_places_that_are_none() -> None:
    maps = torch.randn(2, 3, 4, 5, requires_grad=True)
    for shape in ((0, 4, 2), (3, 0, 2)):
        found = sample_maps(maps, torch.zeros(shape[0], dtype=torch.int64), torch.zeros(shape))
        assert found.shape == (*shape[:2], 3)
        found.sum().backward()
    strange = torch.tensor([[[math.inf, 1], [-math.inf, 1], [1e30, -1e30], [-5, 2]]])
    assert sample_maps(maps, torch.zeros(1, dtype=torch.int64), strange).abs().max() == 0
    nan = torch.tensor([[[math.nan, 1]]])
    assert sample_maps(maps, torch.zeros(1, dtype=torch.int64), nan).isfinite().all()


def test_ten_thousand_rows(fresh_seed: int) -> None:
    torch.manual_seed(fresh_seed)
    maps = torch.randn(3, 2, 6, 6)
    owner, points = torch.randint(0, 3, (10_000,)), torch.rand(10_000, 3, 2) * 6
    found = sample_maps(maps, owner, points)
    for row in torch.randint(0, 10_000, (20,)).tolist():
        alone = sample_maps(maps, owner[row : row + 1], points[row : row + 1])
        torch.testing.assert_close(found[row], alone[0])


def test_points_of_boxes_and_of_grids() -> None:
    boxes = torch.tensor([[10.0, 20, 30, 60], [5, 5, 5, 5]])
    places = place_in_boxes(grid_points(2, boxes.device).expand(2, -1, -1), boxes)
    assert places[0].tolist() == [[15, 30], [25, 30], [15, 50], [25, 50]]
    assert (places[1] == 5).all()


def test_undecided_points_are_those_of_a_loop(fresh_seed: int) -> None:
    torch.manual_seed(fresh_seed)
    logits = torch.randn(5, 7, 7) * 4
    count, tried = 40, 120
    torch.manual_seed(fresh_seed + 1)
    found = uncertain_points(logits, count, 3.0, 0.75)
    torch.manual_seed(fresh_seed + 1)
    candidates, anywhere = torch.rand(5, tried, 2), torch.rand(5, 10, 2)
    assert found.shape == (5, count, 2)
    for row in range(5):
        image = logits[row : row + 1].double().numpy()
        values = [abs(_bilinear(image, *(p * 7))[0]) for p in candidates[row].double().numpy()]
        best = {tuple(candidates[row, i].tolist()) for i in np.argsort(values)[:30]}
        assert {tuple(p) for p in found[row, :30].tolist()} == best
    assert torch.equal(found[:, 30:], anywhere)


@pytest.mark.parametrize(("importance", "undecided"), [(0.0, 0), (1.0, 8)])
def test_shares_of_undecided_points(importance: float, undecided: int) -> None:
    # Left half certain, right half not.
    logits = torch.tensor([9.0, 9, 9, 9, 0, 0, 0, 0]).expand(3, 8, 8)
    found = uncertain_points(logits, 8, 50.0, importance)
    assert ((found[..., 0] > 0.5).sum(dim=1) >= undecided).all()
    assert uncertain_points(logits[:0], 8, 3.0, importance).shape == (0, 8, 2)


def test_undecided_cells(fresh_seed: int) -> None:
    torch.manual_seed(fresh_seed)
    logits = torch.randn(4, 6, 9)
    cells, points = uncertain_cells(logits, 10)
    for row in range(4):
        best = logits[row].flatten().abs().argsort()[:10]
        assert set(cells[row].tolist()) == set(best.tolist())
    for cell, (x, y) in zip(cells[1].tolist(), points[1].tolist(), strict=True):
        assert (x, y) == pytest.approx(((cell % 9 + 0.5) / 9, (cell // 9 + 0.5) / 6))
    # Ties: some of them, each once; and no more cells than there are.
    assert len(set(uncertain_cells(torch.zeros(1, 6, 9), 10)[0][0].tolist())) == 10
    assert sorted(uncertain_cells(logits, 1000)[0][2].tolist()) == list(range(54))
