from __future__ import annotations

import pytest
import torch
from torch import nn

from cardamage.layers import Conv2d, LocalResponseNorm
from cardamage.layers.folding import can_fold
from cardamage.modeling.fusion.leaves import Kernels, conv_forward, fused_conv

SIZES = [1, 2, 3, 4, 5, 8, 40]


def _by_hand(x: torch.Tensor, size: int, alpha: float, beta: float, k: float) -> torch.Tensor:
    result = torch.empty_like(x)
    channels = x.shape[1]
    for c in range(channels):
        total = torch.zeros_like(x[:, 0])
        for other in range(c - size // 2, c + (size - 1) // 2 + 1):
            if 0 <= other < channels:
                total += x[:, other] ** 2
        result[:, c] = x[:, c] / (k + alpha * total / size) ** beta
    return result


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("channels_last", [False, True])
def test_numbers_are_torchs_and_those_of_a_loop(size: int, channels_last: bool) -> None:
    torch.manual_seed(seed := int(torch.randint(10**6, ())))
    alpha, beta, k = (float(value) for value in torch.rand(3, dtype=torch.float64) + 0.1)
    x = torch.randn(2, 16, 5, 7, dtype=torch.float64) * 10
    if channels_last:
        x = x.contiguous(memory_format=torch.channels_last)
    found = LocalResponseNorm(size, alpha, beta, k)(x)
    torch_own = nn.LocalResponseNorm(size, alpha, beta, k)(x)
    for expected in (torch_own, _by_hand(x, size, alpha, beta, k)):
        torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-14, msg=f"seed {seed}")
    assert found.is_contiguous(memory_format=torch.channels_last) == channels_last


@pytest.mark.parametrize("shape", [(0, 8, 3, 3), (1, 1, 1, 1), (2, 3, 0, 4)])
def test_empty_and_single(shape: tuple[int, ...]) -> None:
    x = torch.rand(shape, dtype=torch.float64)
    torch.testing.assert_close(LocalResponseNorm(5, 1.0)(x), _by_hand(x, 5, 1.0, 0.75, 1.0))


def test_gradients() -> None:
    x = torch.randn(1, 6, 2, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(LocalResponseNorm(5, 0.7, 0.75, 1.5), (x,))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_squares_beyond_half_precision_do_not_overflow(dtype: torch.dtype) -> None:
    x = torch.linspace(-2000, 2000, 160).view(1, 16, 2, 5).to(dtype)
    found = LocalResponseNorm(5, 1e-4)(x)
    assert found.dtype == dtype
    expected = _by_hand(x.double(), 5, 1e-4, 0.75, 1.0)
    torch.testing.assert_close(found.double(), expected, rtol=2**-7, atol=1e-3)


def test_strong_responses_are_held_down() -> None:
    x = torch.ones(1, 8, 1, 2)
    x[..., 1] = 100.0
    found = LocalResponseNorm(5, 1.0)(x)
    assert found[0, 4, 0, 1] < found[0, 4, 0, 0]


@pytest.mark.parametrize("kind", [LocalResponseNorm, nn.LocalResponseNorm])
def test_it_is_never_folded_away(kind: type[nn.Module]) -> None:
    torch.manual_seed(0)
    norm = kind(5, 1.0)
    layer = Conv2d(4, 8, 3, padding=1, norm=norm, activation=nn.ReLU())
    kernels = Kernels.of(torch.float32, torch.device("cpu"))
    assert not can_fold(norm)
    assert fused_conv(layer, kernels) is None
    x = torch.randn(2, 4, 6, 5)
    forward = conv_forward(layer, kernels)
    assert forward is not None
    with torch.no_grad():
        torch.testing.assert_close(forward(x), layer(x), rtol=1e-4, atol=1e-6)
