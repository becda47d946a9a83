"""Convolutions and linear layers with what follows them in one call, and with weights prepared once.

On CPUs they are oneDNN's, through the operators that ``torch.compile`` uses: bias, ReLU and an addition
happen while the result is still in the cache, and the weights lie as the kernel wants them. These operators
are private to torch, so :func:`has_fused_kernels` tries them once; without them plain operators do the same.
"""

from __future__ import annotations

import functools
from typing import Any

import torch
import torch.nn.functional as F

__all__ = ["FusedConv2d", "FusedLinear", "has_fused_kernels"]

_Pair = tuple[int, int]

# Sizes of maps that prepared weights are kept for, such as of upright and of lying photos.
_SIZES_KEPT = 4


@functools.cache
def has_fused_kernels(dtype: torch.dtype) -> bool:
    """Tell whether oneDNN's fused operators are here and right, for CPU tensors of a dtype.

    Args:
        dtype: of activations and weights.

    Returns:
        False where torch has none, has them with other arguments, or the processor lacks the dtype.
    """
    if dtype not in (torch.float32, torch.bfloat16) or not torch.backends.mkldnn.is_available():
        return False
    generator = torch.Generator().manual_seed(0)
    x, other = (torch.rand(1, 16, 5, 6, generator=generator) - 0.5 for _ in range(2))
    weight, bias = torch.rand(16, 16, 3, 3, generator=generator) - 0.5, torch.rand(16, generator=generator)
    expected = F.relu(F.conv2d(x, weight, bias, padding=1) + other)
    rows = F.relu(F.linear(x[0, :, 0], weight[:, :6, 0, 0], bias))
    try:
        conv = FusedConv2d(weight, bias, padding=(1, 1), relu=True, dtype=dtype, native=True)
        got = conv(x, other.to(dtype).contiguous(memory_format=torch.channels_last))
        linear = FusedLinear(weight[:, :6, 0, 0], bias, relu=True, dtype=dtype, native=True)(x[0, :, 0])
    except (AttributeError, NotImplementedError, RuntimeError, TypeError, ValueError):
        return False
    limit = 1e-4 if dtype == torch.float32 else 0.1
    return all(bool((a - b).abs().max() < limit) for a, b in ((expected, got), (rows, linear)))


def _packed(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.contiguous().to_mkldnn()


class FusedConv2d:
    """A convolution, an optional addition and an optional ReLU; for inference only.

    Attributes:
        dtype: of the weights and of the result, whatever the input's.
        native: whether oneDNN's fused operator is used.
    """

    def __init__(
        self,
        weight: torch.Tensor,
        bias: torch.Tensor | None,
        stride: _Pair = (1, 1),
        padding: _Pair = (0, 0),
        dilation: _Pair = (1, 1),
        groups: int = 1,
        relu: bool = False,
        dtype: torch.dtype = torch.float32,
        native: bool = False,
    ) -> None:
        """Prepare the weights.

        Args:
            weight: (O, I / groups, kh, kw).
            bias: (O,), or None.
            stride: as torch's, as the next three.
            padding: zeros around the input.
            dilation: the spacing of the kernel's points.
            groups: groups of channels.
            relu: whether the result is cut at zero.
            dtype: what to compute in.
            native: use oneDNN's operator; only where :func:`has_fused_kernels` says so.
        """
        self.dtype, self.native, self.relu = dtype, native, relu
        self.stride, self.padding, self.dilation, self.groups = stride, padding, dilation, groups
        self.kernel_size: _Pair = (weight.shape[2], weight.shape[3])
        self.out_channels = weight.shape[0]
        weight = weight.detach().to(dtype).contiguous(memory_format=torch.channels_last)
        self.bias = None if bias is None else bias.detach().to(dtype)
        self.weight: torch.Tensor | None = _packed(weight) if native else weight
        self._by_size: dict[Any, torch.Tensor] = {}

    def __call__(self, x: torch.Tensor, add: torch.Tensor | None = None) -> torch.Tensor:
        """Map (N, I, H, W) to (N, O, H', W').

        Args:
            x: any float dtype, best channels last.
            add: something of the result's shape that is added before the ReLU; it becomes the result where
                its dtype allows.
        """
        x = x.to(self.dtype).contiguous(memory_format=torch.channels_last)
        if self.native and x.numel() == 0:
            return self._empty(x)
        if not self.native:
            geometry = (self.stride, self.padding, self.dilation, self.groups)
            y = F.conv2d(x, self.weight, self.bias, *geometry)  # type: ignore[arg-type]
            if add is not None:
                y = y.add_(add)
            return y.relu_() if self.relu else y
        weight = self._weight_for(x)
        arguments = (weight, self.bias, self.padding, self.stride, self.dilation, self.groups)
        if add is None:
            kind = "relu" if self.relu else "none"
            return torch.ops.mkldnn._convolution_pointwise(x, *arguments, kind, [], "")
        add = add.to(self.dtype).contiguous(memory_format=torch.channels_last)
        kind_after = "relu" if self.relu else None
        operator = torch.ops.mkldnn._convolution_pointwise_.binary
        return operator(add, x, *arguments, "add", 1.0, kind_after, [], None)

    def _weight_for(self, x: torch.Tensor) -> torch.Tensor:
        """Return the weights as the kernel for maps of this size wants them.

        Handed over in another order, every call would reorder them, which takes far longer than a 1x1
        convolution itself. Those of larger kernels have one order for all sizes.
        """
        pointwise = self.kernel_size == (1, 1)
        key = tuple(x.shape[2:]) if pointwise else None
        if key not in self._by_size:
            geometry = (self.padding, self.stride, self.dilation, self.groups, x.shape)
            reorder: Any = torch._C._nn.mkldnn_reorder_conv2d_weight
            if len(self._by_size) >= _SIZES_KEPT:
                self._by_size.clear()
            self._by_size[key] = reorder(self.weight, *geometry)
            if not pointwise:
                self.weight = None
        return self._by_size[key]

    def _empty(self, x: torch.Tensor) -> torch.Tensor:
        size = [
            (length + 2 * pad - spread * (kernel - 1) - 1) // step + 1
            for length, pad, spread, kernel, step in zip(
                x.shape[2:], self.padding, self.dilation, self.kernel_size, self.stride, strict=True
            )
        ]
        return x.new_zeros((x.shape[0], self.out_channels, *size))


class FusedLinear:
    """A linear layer and an optional ReLU; for inference only."""

    def __init__(
        self,
        weight: torch.Tensor,
        bias: torch.Tensor | None,
        relu: bool = False,
        dtype: torch.dtype = torch.float32,
        native: bool = False,
    ) -> None:
        """Prepare the weights.

        Args:
            weight: (O, I).
            bias: (O,), or None.
            relu: whether the result is cut at zero.
            dtype: what to compute in.
            native: use oneDNN's operator; only where :func:`has_fused_kernels` says so.
        """
        self.dtype, self.native, self.relu = dtype, native, relu
        self.bias = None if bias is None else bias.detach().to(dtype)
        self.out_features = weight.shape[0]
        weight = weight.detach().to(dtype).contiguous()
        self.weight: Any = _packed(weight) if native else weight

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """Map (..., I) to (..., O)."""
        x = x.to(self.dtype)
        if not self.native:
            y = F.linear(x, self.weight, self.bias)
            return y.relu_() if self.relu else y
        if x.numel() == 0:
            return x.new_zeros((*x.shape[:-1], self.out_features))
        kind = "relu" if self.relu else "none"
        return torch.ops.mkldnn._linear_pointwise(x.contiguous(), self.weight, self.bias, kind, [], "")
