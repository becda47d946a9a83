"""Fused forms of masks that are refined at points."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from cardamage.layers.fused_conv import FusedLinear

from ..roi_heads.coarse_mask_head import CoarseMaskFCHead
from ..roi_heads.point_head import PointHead, PointLayer
from .leaves import Kernels, fused_linear
from .overflow import Overflow

__all__ = ["fused_coarse_rows", "fused_point_layers"]

# Regions whose points are predicted at a time: what lies between the layers stays in the cache.
_REGIONS_AT_ONCE = 2


def fused_point_layers(
    head: PointHead, kernels: Kernels, overflow: Overflow | None = None
) -> Callable[[torch.Tensor, torch.Tensor], torch.Tensor] | None:
    """The head's layers with ReLUs in them."""
    hidden, last = head.hidden, head.predictor
    if any(type(layer) is not PointLayer for layer in (*hidden, last)):
        return None
    rows = [_fused(layer, kernels, relu=True) for layer in hidden]
    predict = _fused(last, kernels)
    each_layer = head.coarse_each_layer

    def run(fine: torch.Tensor, coarse: torch.Tensor) -> torch.Tensor:
        near = coarse.to(kernels.dtype)
        x = torch.cat([fine.to(kernels.dtype), near], dim=-1)
        for row in rows:
            x = row(x)
            if each_layer:
                x = torch.cat([x, near], dim=-1)
        return predict(x)

    def forward(fine: torch.Tensor, coarse: torch.Tensor) -> torch.Tensor:
        """Return the points' logits; on a processor some regions at a time, which stay in its cache."""
        if len(fine) <= _REGIONS_AT_ONCE or fine.device.type != "cpu":
            logits = run(fine, coarse)
        else:
            parts = zip(fine.split(_REGIONS_AT_ONCE), coarse.split(_REGIONS_AT_ONCE), strict=True)
            logits = torch.cat([run(*part) for part in parts])
        if overflow is not None:
            overflow.note(logits.isfinite().all())
        return logits

    return forward


def _fused(layer: Any, kernels: Kernels, relu: bool = False) -> FusedLinear:
    return FusedLinear(layer.weight[:, :, 0], layer.bias, relu, kernels.dtype, kernels.native)


def fused_coarse_rows(head: CoarseMaskFCHead, kernels: Kernels) -> list[tuple[nn.Module, FusedLinear]]:
    """The head's linear layers, each with its fused form."""
    linears = [layer for layer in head.children() if type(layer) is nn.Linear]
    return [(layer, fused_linear(layer, kernels)) for layer in linears]
