"""Winograd's convolutions against plain ones in float64."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from cardamage.layers.winograd import WinogradConv2d


@pytest.mark.parametrize(
    "size", [(1, 3, 8, 8), (2, 3, 14, 14), (300, 3, 8, 10), (1, 2, 6, 4096), (2, 2, 90, 64), (1, 1, 64, 2)]
)
@pytest.mark.parametrize("relu", [True, False])
@pytest.mark.parametrize("bias", [True, False])
def test_equals_the_convolution(size: tuple[int, ...], relu: bool, bias: bool) -> None:
    x, weight = torch.randn(size), torch.randn(5, size[1], 3, 3)
    offset = torch.randn(5) if bias else None
    expected = F.conv2d(x.double(), weight.double(), None if offset is None else offset.double(), padding=1)
    expected = expected.relu() if relu else expected
    assert WinogradConv2d.fits(x)
    found = WinogradConv2d(weight, offset, relu, torch.float64)(x)
    assert torch.allclose(found, expected, rtol=1e-12, atol=1e-12)
    found = WinogradConv2d(weight, offset, relu, torch.float32)(
        x.contiguous(memory_format=torch.channels_last)
    )
    assert found.dtype == torch.float32
    assert torch.allclose(found.double(), expected, atol=1e-4)
    assert found.is_contiguous(memory_format=torch.channels_last)


def test_rounding_in_bfloat16_is_two_or_three_times_the_direct_ones() -> None:
    x, weight = torch.randn(1, 64, 24, 24).relu().bfloat16(), torch.randn(64, 64, 3, 3) / 24
    exact = F.conv2d(x.double(), weight.double(), padding=1)
    direct = F.conv2d(x, weight.bfloat16(), padding=1).double()
    found = WinogradConv2d(weight, None, False, torch.bfloat16)(x).double()
    assert (found - exact).norm() < 3 * (direct - exact).norm()


def test_what_it_is_for() -> None:
    assert not WinogradConv2d.fits(torch.zeros(1, 3, 9, 8))
    assert not WinogradConv2d.fits(torch.zeros(1, 3, 2, 2))
    assert not WinogradConv2d.fits(torch.zeros(0, 3, 8, 8))
    one, three = (1, 1), (3, 3)
    assert WinogradConv2d.can_replace(three, one, one, one, 1, 256)
    assert not WinogradConv2d.can_replace(three, one, one, one, 1, 64)
    assert not WinogradConv2d.can_replace(three, (2, 2), one, one, 1, 256)
    assert not WinogradConv2d.can_replace(one, one, one, one, 1, 256)
    assert not WinogradConv2d.can_replace(three, one, one, one, 32, 256)
