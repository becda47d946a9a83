"""Single layers in fused form."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from cardamage.layers import Conv2d
from cardamage.layers.folding import can_fold, folded_parameters
from cardamage.layers.fused_conv import FusedConv2d, FusedLinear, has_fused_kernels
from cardamage.layers.winograd import WinogradConv2d, winograd_pays

from .overrides import has_hooks

__all__ = ["Kernels", "conv_forward", "fused_conv", "fused_linear", "wide_conv"]

_RELU_FUNCTIONS = (F.relu, F.relu_, torch.relu, torch.relu_)


@dataclass(frozen=True)
class Kernels:
    """What fused layers compute with.

    Attributes:
        dtype: of activations and weights.
        native: whether oneDNN's fused operators are used.
        winograd: whether wide 3x3 convolutions behind the trunk are computed with fewer products.
    """

    dtype: torch.dtype
    native: bool
    winograd: bool = False

    @classmethod
    def of(cls, dtype: torch.dtype, device: torch.device, winograd: bool = False) -> Kernels:
        """Choose for a dtype and a device."""
        native = device.type == "cpu" and has_fused_kernels(dtype)
        return cls(dtype, native, winograd and native and winograd_pays(dtype))


def is_relu(activation: Any) -> bool:
    """Tell whether an activation is known to be a ReLU."""
    return type(activation) is nn.ReLU or any(activation is known for known in _RELU_FUNCTIONS)


def fused_conv(layer: Any, kernels: Kernels, relu: bool = False) -> FusedConv2d | None:
    """Fuse a convolution with its norm and activation.

    Args:
        layer: a module.
        kernels: what to compute with.
        relu: whether a ReLU follows the layer.

    Returns:
        None where the layer is no plain convolution, or has a norm or activation that can't be folded.
    """
    if not _is_plain(layer) or has_hooks(layer):
        return None
    norm, activation = getattr(layer, "norm", None), getattr(layer, "activation", None)
    if (norm is not None and not can_fold(norm)) or (activation is not None and not is_relu(activation)):
        return None
    return _fuse(layer, kernels, norm, relu or activation is not None)


def wide_conv(layer: Any, kernels: Kernels) -> Callable[[torch.Tensor], torch.Tensor] | None:
    """Fuse a convolution of many channels on large maps; as :func:`fused_conv` but for sums."""
    direct = fused_conv(layer, kernels)
    if direct is None or not kernels.winograd:
        return direct
    channels = min(layer.in_channels, layer.out_channels)
    geometry = (layer.kernel_size, layer.stride, layer.padding, layer.dilation, layer.groups)
    if not WinogradConv2d.can_replace(*geometry, channels):
        return direct
    weight, bias = folded_parameters(layer.weight, layer.bias, getattr(layer, "norm", None))
    quick = WinogradConv2d(weight, bias, direct.relu, kernels.dtype)

    def forward(x: torch.Tensor) -> torch.Tensor:
        return quick(x) if quick.fits(x) else direct(x)

    return forward


def conv_forward(layer: Any, kernels: Kernels) -> Callable[..., Any] | None:
    """Return a stand-in for the ``forward`` of a convolution, whatever follows it inside.

    A norm that can't be folded, or an activation of a user's own, is computed in float32.
    """
    if not _is_plain(layer):
        return None
    complete = fused_conv(layer, kernels)
    if complete is not None:
        return complete.__call__
    conv = _fuse(layer, kernels, None, False)

    def forward(x: torch.Tensor) -> torch.Tensor:
        x = conv(x)
        x = x if kernels.dtype == torch.float64 else x.float()
        norm, activation = getattr(layer, "norm", None), getattr(layer, "activation", None)
        x = x if norm is None else norm(x)
        return x if activation is None else activation(x)

    return forward


def fused_linear(layer: nn.Linear, kernels: Kernels, relu: bool = False) -> FusedLinear:
    """Fuse a linear layer with a ReLU after it."""
    return FusedLinear(layer.weight, layer.bias, relu, kernels.dtype, kernels.native)


def _is_plain(layer: Any) -> bool:
    return (
        type(layer) in (Conv2d, nn.Conv2d)
        and layer.padding_mode == "zeros"
        and not isinstance(layer.padding, str)
    )


def _fuse(layer: Any, kernels: Kernels, norm: nn.Module | None, relu: bool) -> FusedConv2d:
    weight, bias = folded_parameters(layer.weight, layer.bias, norm)
    geometry = (layer.stride, layer.padding, layer.dilation, layer.groups)
    return FusedConv2d(weight, bias, *geometry, relu, kernels.dtype, kernels.native)
