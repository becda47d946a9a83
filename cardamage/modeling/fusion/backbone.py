"""Fused forms of the backbone's parts, as functions that stand in for their ``forward``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from cardamage.layers.fused_conv import FusedConv2d, FusedLinear
from cardamage.utils.compiling import region

from ..backbone.blocks import BasicBlock, BasicStem, BottleneckBlock, DeformBottleneckBlock
from ..backbone.convnext import ConvNeXtBlock
from ..backbone.fpn import FPN
from .leaves import Kernels, fused_conv, wide_conv

__all__ = ["float_block", "fused_block", "fused_convnext_block", "fused_merge", "fused_stem"]

Forward = Callable[..., Any]


def max_pool_3x3(x: torch.Tensor) -> torch.Tensor:
    """Pool (N, C, H, W) maps by 3, stride 2, padding 1, one axis after the other; fast with channels last."""
    odd = x[:, :, 1::2]
    rows = x[:, :, ::2].clone(memory_format=torch.channels_last)
    torch.maximum(rows[:, :, : odd.shape[2]], odd, out=rows[:, :, : odd.shape[2]])
    torch.maximum(rows[:, :, 1:], odd[:, :, : rows.shape[2] - 1], out=rows[:, :, 1:])
    odd = rows[..., 1::2]
    columns = rows[..., ::2].clone(memory_format=torch.channels_last)
    torch.maximum(columns[..., : odd.shape[3]], odd, out=columns[..., : odd.shape[3]])
    torch.maximum(columns[..., 1:], odd[..., : columns.shape[3] - 1], out=columns[..., 1:])
    return columns


def fused_stem(stem: BasicStem, kernels: Kernels) -> Forward | None:
    """The stem's convolution, norm and ReLU in one."""
    conv = fused_conv(stem.conv1, kernels, relu=True)
    if conv is None:
        return None

    def forward(x: torch.Tensor) -> torch.Tensor:
        x = conv(x)
        return max_pool_3x3(x) if x.device.type == "cpu" else F.max_pool2d(x, 3, 2, 1)

    return forward


def fused_block(block: Any, kernels: Kernels, keeps_input: bool) -> Forward | None:
    """A residual block whose ReLUs and addition happen inside its convolutions.

    Args:
        block: a basic, bottleneck or deformable bottleneck block.
        kernels: what to compute with.
        keeps_input: whether somebody else reads the block's input, so that the sum can't be put there.

    Returns:
        None where the block has norms that can't be folded.
    """
    last_layer = block.conv2 if type(block) is BasicBlock else block.conv3
    first = fused_conv(block.conv1, kernels, relu=True)
    last = fused_conv(last_layer, kernels, relu=True)
    shortcut = None if block.shortcut is None else fused_conv(block.shortcut, kernels)
    middle: Forward | None = _identity
    if type(block) is BottleneckBlock:
        middle = fused_conv(block.conv2, kernels, relu=True)
    elif type(block) is DeformBottleneckBlock:
        middle = _deformable(block)
    if first is None or last is None or middle is None or (shortcut is None and block.shortcut is not None):
        return None
    return _residual(first, middle, last, shortcut, keeps_input)


def _residual(
    first: FusedConv2d, middle: Forward, last: FusedConv2d, shortcut: FusedConv2d | None, keeps_input: bool
) -> Forward:
    def forward(x: torch.Tensor) -> torch.Tensor:
        if shortcut is not None:
            other = shortcut(x)
        else:
            other = x.clone() if keeps_input and last.native else x
        return last(middle(first(x)), other)

    return forward


def _identity(x: torch.Tensor) -> torch.Tensor:
    return x


def _deformable(block: DeformBottleneckBlock) -> Forward:
    def middle(x: torch.Tensor) -> torch.Tensor:
        # There are no half-precision kernels for it on the CPU, and offsets need the precision.
        return F.relu_(block.middle(x.float()))

    return middle


def float_block(block: DeformBottleneckBlock) -> Forward:
    """A block as it is, in float32."""

    def forward(x: torch.Tensor) -> torch.Tensor:
        return type(block).forward(block, x.float())

    return forward


def fused_convnext_block(block: ConvNeXtBlock, kernels: Kernels) -> Forward | None:
    """A ConvNeXt block with the layer scale inside its last weights.

    The sum of all blocks stays in float32, as what each of them adds is small.
    """
    conv = fused_conv(block.conv, kernels)
    norm, first, last = block.norm, block.fc1, block.fc2
    if conv is None or type(norm) is not nn.LayerNorm or {type(first), type(last)} != {nn.Linear}:
        return None
    exact = torch.promote_types(kernels.dtype, torch.float32)
    scale = block.layer_scale.detach().double().flatten()
    widen = FusedLinear(first.weight, first.bias, False, kernels.dtype, kernels.native)
    narrow = FusedLinear(
        last.weight.double() * scale[:, None],
        last.bias.double() * scale,
        False,
        kernels.dtype,
        kernels.native,
    )

    def forward(x: torch.Tensor) -> torch.Tensor:
        y = conv(x).permute(0, 2, 3, 1).to(exact)
        y = F.layer_norm(y, norm.normalized_shape, norm.weight, norm.bias, norm.eps)
        return x.to(exact) + narrow(F.gelu(widen(y))).permute(0, 3, 1, 2)

    return forward


def fused_merge(fpn: FPN, kernels: Kernels) -> Forward | None:
    """The pyramid's merging, with the coarser level added inside the lateral convolutions."""
    if fpn._fuse_type != "sum":
        return None
    steps: list[tuple[str, FusedConv2d, Forward | None]] = []
    for name, level in zip(reversed(fpn.in_features), reversed(fpn._levels), strict=True):
        lateral = fused_conv(getattr(fpn, f"fpn_lateral{level}"), kernels)
        wanted = level in fpn._output_levels
        output = wide_conv(getattr(fpn, f"fpn_output{level}"), kernels) if wanted else None
        if lateral is None or (output is None and wanted):
            return None
        steps.append((name, lateral, output))

    @region
    def merge(below: dict[str, torch.Tensor]) -> list[torch.Tensor]:
        """Return the pyramid's levels of the trunk's maps by name, the finest first."""
        results: list[torch.Tensor] = []
        merged: torch.Tensor | None = None
        for name, lateral, output in steps:
            coarser = None if merged is None else F.interpolate(merged, scale_factor=2.0, mode="nearest")
            merged = lateral(below[name], coarser)
            if output is not None:
                results.insert(0, output(merged))
        return results

    return merge
