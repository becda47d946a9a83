from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from cardamage.errors import ConfigValueError
from cardamage.modeling.batch import RoiRows, force_fixed_shapes
from cardamage.modeling.poolers import ROIPooler, assign_boxes_to_levels
from cardamage.structures import Boxes

SCALES = (1 / 4, 1 / 8, 1 / 16, 1 / 32)


def _boxes(rng: np.random.Generator, count: int) -> torch.Tensor:
    corner = rng.uniform(0, 200, (count, 2))
    size = np.exp(rng.uniform(0, math.log(600), (count, 2)))
    return torch.from_numpy(np.concatenate([corner, corner + size], axis=1)).float()


def test_levels_against_the_papers_rule() -> None:
    sides = [0.0, 1.0, 55.9, 56.0, 111.9, 112.0, 223.9, 224.0, 447.9, 448.0, 5000.0]
    boxes = Boxes(torch.tensor([[3.0, 7.0, 3.0 + s, 7.0 + s] for s in sides]))
    expected = [min(max(math.floor(4 + math.log2(s / 224 + 1e-8)), 2), 5) - 2 if s else 0 for s in sides]
    assert assign_boxes_to_levels([boxes[:4], boxes[4:]], 2, 5, 224, 4).tolist() == expected


@pytest.mark.parametrize("kind", ["ROIAlignV2", "ROIAlign", "ROIPool"])
@pytest.mark.parametrize("sampling_ratio", [0, 2])
@pytest.mark.parametrize("count", [0, 1, 20])
def test_both_ways_of_pooling_agree(kind: str, sampling_ratio: int, count: int) -> None:
    rng = np.random.default_rng(count)
    maps = [torch.randn(2, 3, 64 >> i, 96 >> i, requires_grad=True) for i in range(4)]
    pooler = ROIPooler(7, SCALES, sampling_ratio, kind)
    rows = RoiRows(
        _boxes(rng, count),
        torch.from_numpy(rng.integers(0, 2, count)),
        torch.from_numpy(rng.random(count) < 0.7),
    )
    results = []
    for fixed in (False, True):
        with force_fixed_shapes(fixed):
            pooled = pooler(maps, rows)
        grads = torch.autograd.grad(pooled.square().sum(), maps, allow_unused=True)
        results.append((pooled, grads))
    assert results[0][0].shape == (count, 3, 7, 7)
    torch.testing.assert_close(*(r[0] for r in results))
    assert (results[0][0][~rows.valid] == 0).all()
    for a, b in zip(results[0][1], results[1][1], strict=True):
        torch.testing.assert_close(*(torch.zeros(1) if g is None else g for g in (a, b)))


def test_lists_of_boxes_equal_rows() -> None:
    rng = np.random.default_rng(0)
    maps = [torch.randn(3, 2, 64 >> i, 96 >> i) for i in range(4)]
    lists = [Boxes(_boxes(rng, n)) for n in (2, 0, 3)]
    rows = RoiRows.from_boxes(lists)
    assert rows.image.tolist() == [0, 0, 2, 2, 2]
    pooler = ROIPooler((5, 6), SCALES, 0, "ROIAlignV2")
    assert torch.equal(pooler(maps, lists), pooler(maps, rows))
    assert pooler(maps, []).shape == (0, 2, 5, 6)


def test_a_ramp_is_pooled_to_its_cell_centers() -> None:
    ramp = torch.arange(32.0).expand(1, 1, 32, 32)
    pooled = ROIPooler(4, [1.0], 2, "ROIAlignV2")([ramp], [Boxes(torch.tensor([[8.0, 8.0, 16.0, 16.0]]))])
    expected = torch.tensor([8.5, 10.5, 12.5, 14.5]).expand(4, 4)
    torch.testing.assert_close(pooled[0, 0], expected)


@pytest.mark.parametrize(
    ("scales", "kind"), [((1 / 4, 1 / 16), "ROIAlignV2"), ((1 / 3,), "ROIPool"), ((1 / 4,), "Crop")]
)
def test_bad_values_are_refused(scales: tuple[float, ...], kind: str) -> None:
    with pytest.raises(ConfigValueError, match="powers of 2|POOLER_TYPE"):
        ROIPooler(7, scales, 0, kind)
