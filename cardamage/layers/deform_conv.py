"""Convolutions whose sampling points move (Dai 2017; with weights, Zhu 2018), on torchvision's operator."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn
from torchvision.ops import DeformConv2d

__all__ = ["DeformConv", "ModulatedDeformConv"]

_Size = int | tuple[int, int]


class _DeformableBase(DeformConv2d):
    """What both kinds share: a normalization and an activation behind torchvision's layer."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: _Size,
        stride: _Size,
        padding: _Size,
        dilation: _Size,
        groups: int,
        deformable_groups: int,
        bias: bool,
        norm: nn.Module | None,
        activation: Callable[[torch.Tensor], torch.Tensor] | None,
    ) -> None:
        super().__init__(in_channels, out_channels, kernel_size, stride, padding, dilation, groups, bias)
        self.deformable_groups = deformable_groups
        self.norm = norm
        self.activation = activation

    def reset_parameters(self) -> None:
        """Draw the weights anew, once: so a seed gives the weights it gives in Detectron2."""
        nn.init.kaiming_uniform_(self.weight, nonlinearity="relu")
        if self.bias is not None:
            nn.init.zeros_(self.bias)

    __repr__ = nn.Module.__repr__

    def extra_repr(self) -> str:
        """Describe the layer in one line."""
        names = "in_channels out_channels kernel_size stride padding dilation groups deformable_groups"
        values = [f"{name}={getattr(self, name)}" for name in names.split()]
        return ", ".join([*values, f"bias={self.bias is not None}"])

    def _run(self, x: torch.Tensor, offset: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
        self._check_channels("offset", offset, 2)
        # The operator wants its input in the weights' type, and autocast knows it on GPUs only.
        dtype = torch.promote_types(x.dtype, self.weight.dtype)
        points = None if mask is None else mask.to(dtype)
        x = super().forward(x.to(dtype), offset.to(dtype), points).to(x.dtype)
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

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: _Size,
        stride: _Size = 1,
        padding: _Size = 0,
        dilation: _Size = 1,
        groups: int = 1,
        deformable_groups: int = 1,
        bias: bool = False,
        norm: nn.Module | None = None,
        activation: Callable[[torch.Tensor], torch.Tensor] | None = None,
    ) -> None:
        """Take ``torch.nn.Conv2d``'s arguments and three more.

        Args:
            in_channels: of the input.
            out_channels: of the output.
            kernel_size: one number or (height, width), as the next three.
            stride: see torch.
            padding: zeros around the input.
            dilation: see torch.
            groups: see torch.
            deformable_groups: how many groups of input channels have offsets of their own.
            bias: whether to add a bias.
            norm: a module applied to the output.
            activation: a function applied after ``norm``.
        """
        super().__init__(
            in_channels,
            out_channels,
            kernel_size,
            stride,
            padding,
            dilation,
            groups,
            deformable_groups,
            bias,
            norm,
            activation,
        )

    def forward(self, x: torch.Tensor, offset: torch.Tensor) -> torch.Tensor:
        """Map (N, C, H, W) with offsets (N, 2 * deformable_groups * kh * kw, H', W'), y before x.

        Raises:
            ValueError: the offsets have another number of channels.
        """
        return self._run(x, offset, None)


class ModulatedDeformConv(_DeformableBase):
    """A convolution that samples its input at learned offsets with learned weights."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: _Size,
        stride: _Size = 1,
        padding: _Size = 0,
        dilation: _Size = 1,
        groups: int = 1,
        deformable_groups: int = 1,
        bias: bool = True,
        norm: nn.Module | None = None,
        activation: Callable[[torch.Tensor], torch.Tensor] | None = None,
    ) -> None:
        """Take ``torch.nn.Conv2d``'s arguments and three more.

        Args:
            in_channels: of the input.
            out_channels: of the output.
            kernel_size: one number or (height, width), as the next three.
            stride: see torch.
            padding: zeros around the input.
            dilation: see torch.
            groups: see torch.
            deformable_groups: how many groups of input channels have offsets of their own.
            bias: whether to add a bias.
            norm: a module applied to the output.
            activation: a function applied after ``norm``.
        """
        super().__init__(
            in_channels,
            out_channels,
            kernel_size,
            stride,
            padding,
            dilation,
            groups,
            deformable_groups,
            bias,
            norm,
            activation,
        )
        # As given, one number or two: Detectron2 shows them so.
        self.stride, self.padding, self.dilation = stride, padding, dilation

    def forward(self, x: torch.Tensor, offset: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Map (N, C, H, W) with offsets as :class:`DeformConv` and weights of half as many channels.

        Raises:
            ValueError: offsets or weights have another number of channels.
        """
        self._check_channels("mask", mask, 1)
        return self._run(x, offset, mask)
