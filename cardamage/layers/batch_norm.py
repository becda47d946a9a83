"""Normalization layers by name."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

from cardamage.absent import absent_names

from .frozen_batch_norm import FrozenBatchNorm2d
from .sync_batch_norm import NaiveSyncBatchNorm

__all__ = ["FrozenBatchNorm2d", "LayerNorm", "NaiveSyncBatchNorm", "NormSpec", "get_norm"]

GROUP_NORM_GROUPS = 32

NormSpec = str | Callable[[int], nn.Module] | None


class LayerNorm(nn.Module):
    """Layer normalization over the channels at each place of an (N, C, H, W) map (ConvNeXt, Liu 2022)."""

    def __init__(self, normalized_shape: int, eps: float = 1e-6) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(normalized_shape))
        self.bias = nn.Parameter(torch.zeros(normalized_shape))
        self.eps = eps

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map (N, C, H, W) to the same shape."""
        centered = x - x.mean(dim=1, keepdim=True)
        deviation = torch.sqrt(centered.pow(2).mean(dim=1, keepdim=True) + self.eps)
        return self.weight[:, None, None] * (centered / deviation) + self.bias[:, None, None]


def _group_norm(channels: int) -> nn.Module:
    return nn.GroupNorm(GROUP_NORM_GROUPS, channels)


def _naive_by_pictures(channels: int) -> nn.Module:
    return NaiveSyncBatchNorm(channels, stats_mode="N")


_NORMS: dict[str, Callable[[int], nn.Module]] = {
    "BN": nn.BatchNorm2d,
    "SyncBN": nn.SyncBatchNorm,
    "nnSyncBN": nn.SyncBatchNorm,
    "naiveSyncBN": NaiveSyncBatchNorm,
    "naiveSyncBN_N": _naive_by_pictures,
    "FrozenBN": FrozenBatchNorm2d,
    "GN": _group_norm,
    "LN": LayerNorm,
}


def get_norm(norm: NormSpec, out_channels: int) -> nn.Module | None:
    """Make a normalization layer.

    Args:
        norm: "BN", "SyncBN", "nnSyncBN", "naiveSyncBN", "naiveSyncBN_N", "FrozenBN", "GN" (32 groups), "LN"
            (over channels), a function from the channel count to a module, or "" or None for no layer.
        out_channels: the channels it normalizes.

    Returns:
        The layer, or None.

    Raises:
        ValueError: an unknown name.
    """
    if norm is None or norm == "":
        return None
    if not isinstance(norm, str):
        return norm(out_channels)
    if norm not in _NORMS:
        raise ValueError(f"There is no normalization '{norm}': use one of {', '.join(_NORMS)} or ''.")
    return _NORMS[norm](out_channels)


__getattr__ = absent_names(__name__)
