"""Convolutions whose sampling points move (Dai 2017; with weights, Zhu 2018), on torchvision's operator."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torchvision.ops import DeformConv2d

__all__ = ["DeformConv", "ModulatedDeformConv"]


class _DeformableBase(DeformConv2d):
    """What both kinds share: torch's convolution arguments, a normalization and an activation."""

    def __init__(
        self,
        *args: Any,
        deformable_groups: int = 1,
        norm: nn.Module | None = None,
        activation: Callable[[torch.Tensor], torch.Tensor] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self.deformable_groups = deformable_groups
        self.norm = norm
        self.activation = activation
        nn.init.kaiming_uniform_(self.weight, nonlinearity="relu")
        if self.bias is not None:
            nn.init.zeros_(self.bias)

    def _run(self, x: torch.Tensor, offset: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
        self._check_channels("offset", offset, 2)
        x = super().forward(x, offset, mask)
        if self.norm is not None:
            x = self.norm(x)
        return x if self.activation is None else self.activation(x)

    def _check_channels(self, name: str, points: torch.Tensor, per_point: int) -> None:
        wanted = per_point * self.deformable_groups * self.kernel_size[0] * self.kernel_size[1]
        if points.shape[1] != wanted:
            raise ValueError(
                f"The {name} of a deformable layer needs {wanted} channels, got {points.shape[1]}."
            )


class DeformConv(_DeformableBase):
    """A convolution that samples its input at learned offsets."""

    def __init__(self, *args: Any, bias: bool = False, **kwargs: Any) -> None:
        """Take ``torch.nn.Conv2d``'s arguments and three more.

        Args:
            *args: torch's.
            bias: whether to add a bias.
            **kwargs: torch's, and ``deformable_groups``, ``norm`` (a module) and ``activation`` (a function).
        """
        super().__init__(*args, bias=bias, **kwargs)

    def forward(self, x: torch.Tensor, offset: torch.Tensor) -> torch.Tensor:
        """Map (N, C, H, W) with offsets (N, 2 * deformable_groups * kh * kw, H', W'), y before x.

        Raises:
            ValueError: the offsets have another number of channels.
        """
        return self._run(x, offset, None)


class ModulatedDeformConv(_DeformableBase):
    """A convolution that samples its input at learned offsets with learned weights."""

    def __init__(self, *args: Any, bias: bool = True, **kwargs: Any) -> None:
        """Take ``torch.nn.Conv2d``'s arguments and three more.

        Args:
            *args: torch's.
            bias: whether to add a bias.
            **kwargs: torch's, and ``deformable_groups``, ``norm`` (a module) and ``activation`` (a function).
        """
        super().__init__(*args, bias=bias, **kwargs)

    def forward(self, x: torch.Tensor, offset: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Map (N, C, H, W) with offsets as :class:`DeformConv` and weights of half as many channels.

        Raises:
            ValueError: offsets or weights have another number of channels.
        """
        self._check_channels("mask", mask, 1)
        return self._run(x, offset, mask)
