"""Folded and fused layers against plain ones in float64."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from cardamage.layers import Conv2d, FrozenBatchNorm2d, NaiveSyncBatchNorm, get_norm
from cardamage.layers.folding import can_fold, folded_parameters
from cardamage.layers.fused_conv import FusedConv2d, FusedLinear, has_fused_kernels

NORMS = ("", "BN", "SyncBN", "naiveSyncBN", "naiveSyncBN_N", "FrozenBN")
LAST = torch.channels_last


def _randomize(norm: Any) -> None:
    norm.weight.data = torch.rand_like(norm.weight) + 0.5
    norm.bias.data = torch.randn_like(norm.bias)
    norm.running_mean.copy_(torch.randn_like(norm.running_mean))
    norm.running_var.copy_(torch.rand_like(norm.running_var) + 0.1)


@pytest.mark.parametrize("kind", NORMS)
@pytest.mark.parametrize("bias", [True, False])
def test_folded_norms_are_exact_in_float64(kind: str, bias: bool) -> None:
    norm = get_norm(kind, 6)
    if norm is not None:
        _randomize(norm)
    conv = Conv2d(4, 6, 3, padding=1, bias=bias, norm=norm).double().eval()
    x = torch.randn(2, 4, 5, 7, dtype=torch.float64)
    folded = FusedConv2d(
        *folded_parameters(conv.weight, conv.bias, conv.norm), padding=(1, 1), dtype=torch.float64
    )
    with torch.no_grad():
        expected = conv(x)
        assert torch.allclose(folded(x), expected, rtol=1e-9, atol=1e-9)
    assert norm is None or can_fold(norm)


def test_only_fixed_maps_of_channels_can_be_folded() -> None:
    class Own(nn.BatchNorm2d):
        pass

    untracked = nn.BatchNorm2d(4, track_running_stats=False)
    for norm in (None, nn.GroupNorm(2, 4), get_norm("LN", 4), Own(4), untracked):
        assert not can_fold(norm)
    for norm in (nn.BatchNorm2d(4, affine=False), FrozenBatchNorm2d(4), NaiveSyncBatchNorm(4)):
        assert can_fold(norm)
    weight, bias = folded_parameters(torch.ones(4, 1, 1, 1), None, nn.BatchNorm2d(4, affine=False, eps=0.0))
    assert torch.equal(weight, torch.ones(4, 1, 1, 1).double())
    assert torch.equal(bias, torch.zeros(4).double())


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(
    ("kernel", "stride", "dilation", "groups"),
    [(1, 1, 1, 1), (1, 2, 1, 1), (3, 1, 1, 1), (3, 2, 1, 4), (3, 1, 2, 1), (7, 2, 1, 1)],
)
@pytest.mark.parametrize("native", [True, False])
def test_convolutions_with_sums_and_relus(
    dtype: torch.dtype, kernel: int, stride: int, dilation: int, groups: int, native: bool
) -> None:
    if native and not has_fused_kernels(dtype):
        pytest.skip("torch has no oneDNN here")
    pad = dilation * (kernel // 2)
    weight, bias = torch.randn(16, 8 // groups, kernel, kernel), torch.randn(16)
    geometry = ((stride,) * 2, (pad,) * 2, (dilation,) * 2, groups)
    error = 1e-4 if dtype == torch.float32 else 0.02
    # Also sizes that follow each other, a pixel and an empty batch.
    for size in ((2, 8, 9, 13), (1, 8, 6, 5), (2, 8, 9, 13), (1, 8, 1, 1), (0, 8, 4, 4)):
        x = torch.randn(size).to(dtype)
        rounded = weight.to(dtype).double(), bias.to(dtype).double()
        plain = F.conv2d(x.double(), *rounded, *geometry)
        for relu in (False, True):
            conv = FusedConv2d(weight, bias, *geometry, relu, dtype, native)
            for given in (None, torch.randn_like(plain)):
                add = None if given is None else given.to(dtype).contiguous(memory_format=LAST)
                expected = plain if add is None else plain + add.double()
                expected = expected.relu() if relu else expected
                found = conv(x, add)
                assert found.dtype == dtype
                assert found.shape == expected.shape
                scale = 1 + expected.abs().amax().item() if expected.numel() else 1
                assert torch.allclose(found.double(), expected, atol=error * scale)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("native", [True, False])
def test_linear_layers(dtype: torch.dtype, native: bool) -> None:
    if native and not has_fused_kernels(dtype):
        pytest.skip("torch has no oneDNN here")
    weight, bias = torch.randn(12, 20), torch.randn(12)
    for size in ((5, 20), (2, 3, 20), (0, 20)):
        x = torch.randn(size)
        for relu in (False, True):
            expected = F.linear(x, weight, bias)
            expected = expected.relu() if relu else expected
            found = FusedLinear(weight, bias, relu, dtype, native)(x)
            assert found.shape == expected.shape
            limit = 1e-4 if dtype == torch.float32 else 0.2
            assert torch.allclose(found.float(), expected, atol=limit)


def test_float64_has_no_fused_kernels() -> None:
    assert not has_fused_kernels(torch.float64)
