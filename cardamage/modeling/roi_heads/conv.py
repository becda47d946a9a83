"""The convolution that the heads are stacks of."""

from __future__ import annotations

from typing import Any

from torch import nn

from cardamage.layers import Conv2d, get_norm

__all__ = ["conv3x3"]


def conv3x3(in_channels: int, out_channels: int, norm: Any = "") -> Conv2d:
    """Return a 3x3 convolution that keeps the map's size, with norm and ReLU.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        norm: see :func:`~cardamage.layers.get_norm`; with one, the convolution has no bias.
    """
    return Conv2d(
        in_channels,
        out_channels,
        kernel_size=3,
        padding=1,
        bias=not norm,
        norm=get_norm(norm, out_channels),
        activation=nn.ReLU(),
    )
