"""ROIAlign as bags of pixels against torchvision's."""

from __future__ import annotations

import pytest
import torch
from torchvision.ops import roi_align

from cardamage.layers.roi_align import PoolGeometry
from cardamage.layers.roi_align_bags import roi_align_bags

LAST = torch.channels_last


def _rois(count: int, images: int, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    corner = torch.rand(count, 2, generator=generator) * torch.tensor([200.0, 150.0]) - 20
    sides = torch.exp(torch.randn(count, 2, generator=generator) * 1.2) * 30
    # Empty and inverted ones, the whole image, cells of whole pixels.
    sides[:3], sides[3:6] = 0, -sides[3:6]
    corner[6], sides[6] = 0, torch.tensor([160.0, 120.0])
    corner[7], sides[7] = torch.tensor([8.0, 16.0]), torch.tensor([28.0, 56.0])
    image = torch.randint(0, images, (count, 1), generator=generator)
    return torch.cat([image.float(), corner, corner + sides], dim=1)


@pytest.mark.parametrize("size", [(7, 7), (14, 14), (3, 5), (1, 1)])
@pytest.mark.parametrize("aligned", [True, False])
@pytest.mark.parametrize("ratio", [0, 1, 2, 3])
def test_equals_torchvision(size: tuple[int, int], aligned: bool, ratio: int) -> None:
    x = torch.randn(2, 5, 30, 40)
    rois = _rois(60, 2, seed=ratio)
    expected = roi_align(x, rois, size, 0.25, ratio, aligned)
    levels = torch.zeros(60, dtype=torch.int64)
    geometry = PoolGeometry(size, (0.25,), ratio, aligned)
    found = roi_align_bags([x.contiguous(memory_format=LAST)], rois, levels, geometry)
    assert found.is_contiguous(memory_format=LAST)
    assert torch.allclose(found, expected, atol=2e-5)


def test_levels_and_bfloat16() -> None:
    maps = [torch.randn(1, 8, 64 >> i, 80 >> i).bfloat16() for i in range(3)]
    rois = _rois(50, 1, seed=9)
    levels = torch.randint(-1, 3, (50,))
    scales = (0.25, 0.125, 0.0625)
    found = roi_align_bags(maps, rois, levels, PoolGeometry((7, 7), scales, 0, True))
    assert found.dtype == torch.bfloat16
    for level, (x, scale) in enumerate(zip(maps, scales, strict=True)):
        here = levels == level
        expected = roi_align(x.float(), rois[here], (7, 7), scale, 0, True)
        assert (found[here].float() - expected).abs().max() < 0.03
    assert not found[levels == -1].any()


def test_no_regions_one_pixel_and_boxes_far_too_large() -> None:
    x, none = torch.randn(1, 3, 1, 1), torch.zeros(0, dtype=torch.int64)
    geometry = PoolGeometry((7, 7), (0.25,), 0, True)
    assert roi_align_bags([x], torch.zeros(0, 5), none, geometry).shape == (0, 3, 7, 7)
    rois = torch.tensor([[0, 0.0, 0, 4, 4], [0, -2e3, -3e3, 2e3, 3e3], [0, torch.nan, 0, 1, 1]])
    for each in rois[:2]:
        expected = roi_align(x, each[None], (7, 7), 0.25, 0, True)
        found = roi_align_bags([x], each[None], torch.zeros(1, dtype=torch.int64), geometry)
        assert torch.allclose(found, expected, atol=1e-5)
    all_three = roi_align_bags([x], rois, torch.zeros(3, dtype=torch.int64), geometry)
    assert all_three.isfinite().all()
