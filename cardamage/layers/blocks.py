"""The base of the blocks that backbones are stacked from."""

from __future__ import annotations

from torch import nn
from typing_extensions import Self

from .frozen_batch_norm import FrozenBatchNorm2d


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
