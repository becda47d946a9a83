"""Fused forms of the heads, as functions that stand in for their methods."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, cast

import torch
from torch import nn

from cardamage.layers import Conv2d
from cardamage.layers.fused_conv import FusedConv2d, FusedLinear
from cardamage.layers.roi_align_bags import roi_align_bags
from cardamage.utils.compiling import region

from ..poolers import ROIPooler
from ..proposal_generator.rpn_head import StandardRPNHead
from ..roi_heads.box_head import FastRCNNConvFCHead, flatten_regions
from ..roi_heads.fast_rcnn import FastRCNNOutputLayers
from ..roi_heads.mask_head import MaskRCNNConvUpsampleHead
from .leaves import Kernels, fused_conv, fused_linear, wide_conv
from .overflow import Overflow

__all__ = [
    "float_predictor",
    "fused_box_head",
    "fused_mask_layers",
    "fused_rpn_head",
    "pool_bags",
    "pool_float",
]

Forward = Callable[..., Any]

# Regions whose masks are upsampled at a time: what lies between the layers stays in the cache.
_REGIONS_AT_ONCE = 8


def _chain(layers: Sequence[nn.Module], kernels: Kernels) -> list[Forward] | None:
    fused = [wide_conv(layer, kernels) for layer in layers]
    return None if any(conv is None for conv in fused) else fused  # type: ignore[return-value]


def fused_rpn_head(head: StandardRPNHead, kernels: Kernels) -> Forward | None:
    """The head with one 1x1 convolution for objectness and offsets."""
    hidden = [head.conv] if isinstance(head.conv, Conv2d) else list(head.conv.children())
    convs = _chain(hidden, kernels)
    outputs: list[Any] = [head.objectness_logits, head.anchor_deltas]
    if convs is None or any(type(layer) is not nn.Conv2d for layer in outputs):
        return None
    weight = torch.cat([layer.weight for layer in outputs])
    bias = torch.cat([layer.bias for layer in outputs])
    both = FusedConv2d(weight, bias, dtype=kernels.dtype, native=kernels.native)
    anchors = head.objectness_logits.out_channels

    def forward(features: Sequence[torch.Tensor]) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
        predictions = []
        for x in features:
            for conv in convs:
                x = conv(x)
            predictions.append(both(x))
        return [p[:, :anchors] for p in predictions], [p[:, anchors:] for p in predictions]

    return forward


def fused_box_head(head: FastRCNNConvFCHead, kernels: Kernels) -> Forward | None:
    """The head with ReLUs in its layers, and its first linear weights in the order of channels last."""
    layers = list(head.children())
    convs = _chain([layer for layer in layers if isinstance(layer, nn.Conv2d)], kernels)
    linears = [layer for layer in layers if isinstance(layer, nn.Linear)]
    if convs is None or not linears or any(type(layer) is not nn.Linear for layer in linears):
        return None
    first, *others = linears
    rows = [fused_linear(layer, kernels, relu=True) for layer in others]
    by_size: dict[int, FusedLinear] = {}

    def flattened(pixels: int) -> FusedLinear:
        weight = first.weight.detach().unflatten(1, (-1, pixels)).transpose(1, 2).flatten(1)
        return FusedLinear(weight, first.bias, True, kernels.dtype, kernels.native)

    def forward(x: torch.Tensor) -> torch.Tensor:
        """Reorder the first weights once for each size of the regions' maps."""
        for conv in convs:
            x = conv(x)
        pixels = x.shape[2] * x.shape[3]
        if pixels not in by_size:
            by_size[pixels] = flattened(pixels)
        x = by_size[pixels](x.permute(0, 2, 3, 1).flatten(1))
        for row in rows:
            x = row(x)
        return x

    return forward


def float_predictor(predictor: FastRCNNOutputLayers, overflow: Overflow | None = None) -> Forward:
    """The predictor in float32: scores and boxes are to be exact."""

    def forward(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        if overflow is not None:
            overflow.note(x.isfinite().all())
        x = flatten_regions(x).to(predictor.cls_score.weight.dtype)
        return predictor.cls_score(x), predictor.bbox_pred(x)

    return forward


def fused_mask_layers(
    head: MaskRCNNConvUpsampleHead, kernels: Kernels, overflow: Overflow | None = None
) -> Forward | None:
    """The head's layers, with the doublings and the predictor as products of each pixel's channels."""
    layers = list(head.children())
    doublings = [_doubling(*pair, kernels) for pair in _doubling_pairs(layers)]
    first = len(layers) - 1 - 2 * len(doublings)
    convs, predictor = _chain(layers[:first], kernels), layers[-1]
    if convs is None or not doublings or any(double is None for double in doublings):
        return None
    last = fused_conv(predictor, kernels)
    if last is None or last.kernel_size != (1, 1) or last.relu:
        return None
    points: Any = predictor
    classify = FusedLinear(
        points.weight.detach()[:, :, 0, 0], points.bias, False, kernels.dtype, kernels.native
    )
    *before, final = cast(list[FusedLinear], doublings)

    def upsample(x: torch.Tensor) -> torch.Tensor:
        x = x.permute(0, 2, 3, 1)
        for double in before:
            # (N, h, w, a, b, K) -> (N, h, a, w, b, K)
            x = double(x).unflatten(3, (2, 2, -1)).transpose(2, 3).flatten(3, 4).flatten(1, 2)
        hidden = final(x).unflatten(3, (2, 2, -1))
        # (N, h, w, a, b, K) -> (N, K, h, a, w, b)
        return classify(hidden).permute(0, 5, 1, 3, 2, 4).flatten(4, 5).flatten(2, 3)

    @region
    def forward(x: torch.Tensor) -> torch.Tensor:
        for conv in convs:
            x = conv(x)
        if len(x) <= _REGIONS_AT_ONCE or x.device.type != "cpu":
            return upsample(x)
        return torch.cat([upsample(part) for part in x.split(_REGIONS_AT_ONCE)])

    return forward if overflow is None else _watched(forward, overflow)


def _watched(layers: Forward, overflow: Overflow) -> Forward:
    def forward(x: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = layers(x)
        overflow.note(logits.isfinite().all())
        return logits

    return forward


def _doubling_pairs(layers: Sequence[nn.Module]) -> list[tuple[nn.Module, nn.Module]]:
    """Return the layers between the 3x3 convolutions and the predictor, two and two."""
    tail = [layer for layer in layers[:-1] if not isinstance(layer, nn.Conv2d)]
    return list(zip(tail[::2], tail[1::2], strict=False))


def _doubling(deconv: Any, relu: nn.Module, kernels: Kernels) -> FusedLinear | None:
    """Four results of a pixel, each with all channels: (a, b, o) by (i)."""
    if not _doubles(deconv) or type(relu) is not nn.ReLU:
        return None
    weight = deconv.weight.detach().permute(2, 3, 1, 0).flatten(0, 2)
    return FusedLinear(weight, deconv.bias.detach().repeat(4), True, kernels.dtype, kernels.native)


def _doubles(deconv: Any) -> bool:
    """Tell whether a layer is a transposed convolution whose results don't overlap."""
    return (
        type(deconv) is nn.ConvTranspose2d
        and deconv.kernel_size == deconv.stride == (2, 2)
        and deconv.padding == deconv.output_padding == (0, 0)
        and deconv.dilation == (1, 1)
        and deconv.groups == 1
        and deconv.bias is not None
    )


def pool_bags(pooler: ROIPooler) -> Forward | None:
    """The pooler's part for counted regions on the CPU, without copies of the maps."""
    geometry = pooler.common_geometry()
    if geometry is None:
        return None

    def pool(
        x: Sequence[torch.Tensor], rois: torch.Tensor, levels: torch.Tensor, valid: torch.Tensor
    ) -> torch.Tensor:
        return roi_align_bags(x, rois, torch.where(valid, levels, -1), geometry)

    return pool


def pool_float(pooler: ROIPooler, method: str = "_pool_indexed") -> Forward:
    """The same for other kinds of pooling, which takes maps and boxes of one dtype, on the CPU never half.

    Args:
        pooler: the pooler.
        method: the part of it that pools, for counted regions or for fixed shapes.
    """

    def pool(
        x: Sequence[torch.Tensor], rois: torch.Tensor, levels: torch.Tensor, valid: torch.Tensor
    ) -> torch.Tensor:
        maps = [m.to(torch.promote_types(m.dtype, torch.float32)) for m in x]
        return getattr(ROIPooler, method)(pooler, maps, rois, levels, valid)

    return pool
