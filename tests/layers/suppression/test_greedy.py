"""Suppression of many groups at once equals torchvision's of each by itself, however it is computed."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torchvision.ops import nms

from cardamage.layers import greedy_keep
from cardamage.layers.suppression.greedy import fixed_point_keep, one_by_one_keep

Keep = Callable[[torch.Tensor, torch.Tensor, float], torch.Tensor]
SHAPES = [(1, 1), (3, 31), (2, 33), (4, 64), (2, 150), (1, 260)]


def _groups(groups: int, size: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Boxes with equal ones, ones without area and ones that are not numbers among them."""
    generator = torch.Generator().manual_seed(seed)
    corners = torch.rand(groups, size, 2, generator=generator) * 60
    sides = torch.rand(groups, size, 2, generator=generator) * 40
    boxes = torch.cat((corners, corners + sides), dim=2)
    if seed % 2:
        boxes = (boxes / 6).round()
    alive = torch.rand(groups, size, generator=generator) < 0.8
    boxes[~alive & (torch.rand(groups, size, generator=generator) < 0.3)] = torch.nan
    return boxes, alive


def _check(keep_of: Keep, groups: int, size: int, seed: int, threshold: float) -> None:
    boxes, alive = _groups(groups, size, seed)
    keep = keep_of(boxes, alive, threshold)
    assert keep.dtype == torch.bool
    for group, used, kept in zip(boxes, alive, keep, strict=True):
        index = used.nonzero()[:, 0]
        falling = torch.linspace(1, 0, len(index))
        assert kept.nonzero()[:, 0].tolist() == sorted(index[nms(group[index], falling, threshold)].tolist())


@pytest.mark.parametrize("keep_of", [greedy_keep, fixed_point_keep, one_by_one_keep])
@pytest.mark.parametrize(("groups", "size"), [*SHAPES, (5, 700)])
@pytest.mark.parametrize("seed", range(4))
def test_each_group_equals_torchvision(keep_of: Keep, groups: int, size: int, seed: int) -> None:
    _check(keep_of, groups, size, seed, (0.5, 0.75)[seed // 2])


@pytest.mark.parametrize("threshold", [0.1, 0.2, 0.3, 0.6, 0.7, 0.9])
def test_an_overlap_at_the_threshold_itself(threshold: float) -> None:
    """Tenths are no values of float32, some lie above and some below it."""
    boxes = torch.tensor([[[0.0, 0, 10, 1], [0, 0, 10 * threshold, 1]]])
    alive = torch.ones(1, 2, dtype=torch.bool)
    kept = nms(boxes[0], torch.tensor([1.0, 0.5]), threshold)
    assert greedy_keep(boxes, alive, threshold).sum() == len(kept)


def test_edges() -> None:
    assert greedy_keep(torch.zeros(0, 5, 4), torch.zeros(0, 5, dtype=torch.bool), 0.5).shape == (0, 5)
    assert greedy_keep(torch.zeros(2, 0, 4), torch.zeros(2, 0, dtype=torch.bool), 0.5).shape == (2, 0)
    boxes = torch.tensor([0.0, 0, 4, 4]).expand(2, 3, 5, 4)
    assert not greedy_keep(boxes, torch.zeros(2, 3, 5, dtype=torch.bool), 0.5).any()
    keep = greedy_keep(boxes.half(), torch.ones(2, 3, 5, dtype=torch.bool), 0.5)
    assert torch.equal(keep, (torch.arange(5) == 0).expand(2, 3, 5))


def test_compilers_take_it_whole() -> None:
    boxes, alive = _groups(2, 33, 0)
    compiled = torch.compile(lambda b, a: ~greedy_keep(b, a, 0.5), fullgraph=True, backend="aot_eager")
    assert torch.equal(compiled(boxes, alive), ~greedy_keep(boxes, alive, 0.5))
