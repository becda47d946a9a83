from __future__ import annotations

import pytest
import torch
from torchvision.ops import roi_align

from cardamage.layers.roi_align import PoolGeometry
from cardamage.layers.roi_align_train import can_pool_bags, pool_bags

SCALES = (0.25, 0.125, 0.0625)
SIZE = (160, 208)
GEOMETRY = PoolGeometry((7, 7), SCALES, 0, True)


def _maps(dtype: torch.dtype = torch.float32) -> list[torch.Tensor]:
    shapes = [(2, 8, round(SIZE[0] * s), round(SIZE[1] * s)) for s in SCALES]
    return [
        torch.randn(shape).to(dtype).contiguous(memory_format=torch.channels_last).requires_grad_()
        for shape in shapes
    ]


def _regions(count: int) -> tuple[torch.Tensor, torch.Tensor]:
    corner = torch.rand(count, 2) * torch.tensor([SIZE[1], SIZE[0]])
    boxes = torch.cat([corner, corner + torch.rand(count, 2) ** 2 * 120], dim=1)
    # The whole picture, a point, one outside, one that reaches out, and one that is turned inside out.
    special = [[0, 0, 208, 160], [5, 5, 5, 5], [-50, -50, -20, -20], [-30, 150, 400, 170], [90, 80, 40, 30]]
    boxes[: len(special)] = torch.tensor(special[:count], dtype=torch.float32)
    rois = torch.cat([torch.randint(0, 2, (count, 1)).float(), boxes], dim=1)
    return rois, torch.randint(-1, len(SCALES), (count,))


def _plain(
    maps: list[torch.Tensor], rois: torch.Tensor, levels: torch.Tensor, size: tuple[int, int], *options: int
) -> torch.Tensor:
    output = torch.zeros(len(rois), 8, *size)
    for level, (x, scale) in enumerate(zip(maps, SCALES, strict=True)):
        here = (levels == level).nonzero()[:, 0]
        output = output.index_add(0, here, roi_align(x.float(), rois[here], size, scale, *options))
    return output


@pytest.mark.parametrize("sampling_ratio", [0, 1, 2])
@pytest.mark.parametrize("aligned", [False, True])
@pytest.mark.parametrize("size", [(7, 7), (3, 5), (1, 1)])
def test_values_and_gradients_are_torchvisions(
    sampling_ratio: int, aligned: bool, size: tuple[int, int]
) -> None:
    torch.manual_seed(sampling_ratio)
    maps, (rois, levels) = _maps(), _regions(60)
    found = pool_bags(maps, rois, levels, PoolGeometry(size, SCALES, sampling_ratio, aligned))
    exact = _plain(maps, rois, levels, size, sampling_ratio, aligned)
    weights = torch.randn_like(exact)
    gradients = [torch.autograd.grad(values, maps, weights) for values in (found, exact)]
    torch.testing.assert_close(found, exact, rtol=1e-5, atol=1e-5)
    for fast, plain in zip(*gradients, strict=True):
        torch.testing.assert_close(fast, plain, rtol=1e-5, atol=2e-5)
        assert fast.is_contiguous(memory_format=torch.channels_last)


def test_bfloat16_rounds_no_more_than_its_bits() -> None:
    torch.manual_seed(0)
    maps, (rois, levels) = _maps(torch.bfloat16), _regions(80)
    found = pool_bags(maps, rois, levels, GEOMETRY)
    exact = _plain(maps, rois, levels, (7, 7), 0, True)
    assert found.dtype == torch.bfloat16
    weights = torch.randn_like(exact).bfloat16()
    fast = torch.autograd.grad(found, maps, weights)
    plain = torch.autograd.grad(exact, maps, weights.float())
    # Rounded weights and a rounded result: two errors of at most 2^-8 of numbers up to about 4.
    torch.testing.assert_close(found.float(), exact, rtol=2**-7, atol=2**-6)
    # Gradients add up in float32, and are rounded once.
    for a, b in zip(fast, plain, strict=True):
        torch.testing.assert_close(a.float(), b.float(), rtol=2**-7, atol=1e-4)


def test_no_regions_and_maps_without_gradients() -> None:
    maps = _maps()
    none = pool_bags(maps, torch.zeros(0, 5), torch.zeros(0, dtype=torch.int64), GEOMETRY)
    assert none.shape == (0, 8, 7, 7)
    assert all(not g.any() for g in torch.autograd.grad(none.sum(), maps))
    maps[1].requires_grad_(False)
    rois, levels = _regions(20)
    pool_bags(maps, rois, levels, GEOMETRY).sum().backward()
    assert maps[1].grad is None
    assert maps[0].grad is not None
    assert maps[0].grad.any()


def test_boxes_far_larger_than_the_map() -> None:
    maps = _maps()
    rois = torch.tensor([[0, -3e4, -2e4, 3e4, 2e4], [1, 10.0, 10, 50, 70]])
    levels = torch.tensor([2, 2])
    found = pool_bags(maps, rois, levels, GEOMETRY)
    exact = _plain(maps, rois, levels, (7, 7), 0, True)
    torch.testing.assert_close(found, exact, rtol=1e-5, atol=1e-5)
    weights = torch.randn_like(exact)
    gradients = [torch.autograd.grad(values, maps, weights, allow_unused=True) for values in (found, exact)]
    torch.testing.assert_close(gradients[0][2], gradients[1][2], rtol=1e-5, atol=1e-5, check_stride=False)


def test_only_maps_with_channels_last_on_the_cpu_are_taken() -> None:
    maps = _maps()
    assert can_pool_bags(maps, GEOMETRY)
    assert not can_pool_bags([x.contiguous() for x in maps], GEOMETRY)
    assert not can_pool_bags([x.double() for x in maps], GEOMETRY)
    assert not can_pool_bags([x.to("meta") for x in maps], GEOMETRY)
    long = torch.zeros(1, 8, 2, 2000).contiguous(memory_format=torch.channels_last)
    assert not can_pool_bags([long], GEOMETRY)
    assert can_pool_bags([long], GEOMETRY._replace(sampling_ratio=2))
