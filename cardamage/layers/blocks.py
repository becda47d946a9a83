"""Blocks of convolutions that backbones are stacked from."""

from __future__ import annotations

from collections.abc import Callable

import torch
from fvcore.nn import weight_init
from torch import nn
from typing_extensions import Self

from .batch_norm import FrozenBatchNorm2d, NormSpec, get_norm
from .wrappers import Conv2d


class CNNBlockBase(nn.Module):
    """A block with known input and output channels and stride, that can be frozen."""

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        self.in_channels = in_channels
        self.out_channels = out_channels
        self.stride = stride

    def freeze(self) -> Self:
        """Stop training the block: no gradients, and every BatchNorm inside becomes a FrozenBatchNorm2d."""
        for parameter in self.parameters():
            parameter.requires_grad = False
        FrozenBatchNorm2d.convert_frozen_batchnorm(self)
        return self


class DepthwiseSeparableConv2d(nn.Module):
    """A convolution of each channel by itself, then one of 1x1 over all (Chollet 2017, Howard 2017)."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int = 3,
        padding: int = 1,
        dilation: int = 1,
        *,
        norm1: NormSpec = None,
        activation1: Callable[[torch.Tensor], torch.Tensor] | None = None,
        norm2: NormSpec = None,
        activation2: Callable[[torch.Tensor], torch.Tensor] | None = None,
    ) -> None:
        """Set sizes and what follows each convolution.

        Args:
            in_channels: of the input.
            out_channels: of the output.
            kernel_size: of the first convolution.
            padding: of the first convolution.
            dilation: of the first convolution.
            norm1: normalization after the first, see :func:`get_norm`; without, it has a bias.
            activation1: function after that.
            norm2: normalization after the second; without, it has a bias.
            activation2: function after that.
        """
        super().__init__()
        self.depthwise = Conv2d(
            in_channels,
            in_channels,
            kernel_size,
            padding=padding,
            dilation=dilation,
            groups=in_channels,
            bias=not norm1,
            norm=get_norm(norm1, in_channels),
            activation=activation1,
        )
        self.pointwise = Conv2d(
            in_channels,
            out_channels,
            1,
            bias=not norm2,
            norm=get_norm(norm2, out_channels),
            activation=activation2,
        )
        for conv in (self.depthwise, self.pointwise):
            weight_init.c2_msra_fill(conv)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map (N, in_channels, H, W) to (N, out_channels, H', W')."""
        return self.pointwise(self.depthwise(x))
