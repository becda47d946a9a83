"""Merging a normalization whose statistics are fixed into the convolution before it."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from .frozen_batch_norm import FrozenBatchNorm2d
from .sync_batch_norm import NaiveSyncBatchNorm

__all__ = ["can_fold", "folded_parameters"]

_FOLDABLE = (nn.BatchNorm2d, nn.SyncBatchNorm, NaiveSyncBatchNorm, FrozenBatchNorm2d)


def can_fold(norm: Any) -> bool:
    """Tell whether a layer is, in evaluation, one scale and one shift a channel.

    A subclass of a user's own may compute anything, and batch norms that track no statistics take those of
    the batch.
    """
    return type(norm) in _FOLDABLE and norm.running_mean is not None and norm.running_var is not None


def folded_parameters(
    weight: torch.Tensor, bias: torch.Tensor | None, norm: Any
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Return the weight and bias of the convolution that does what one and the norm after it do.

    Args:
        weight: (O, ...) of the convolution.
        bias: (O,), or None.
        norm: a layer that :func:`can_fold` accepts, or None.

    Returns:
        Both in float64, so that rounding to the dtype of use is the only one; the bias is None where there is
        neither bias nor norm.
    """
    weight = weight.detach().double()
    bias = None if bias is None else bias.detach().double()
    if norm is None:
        return weight, bias
    scale = (norm.running_var.double() + norm.eps).rsqrt()
    if norm.weight is not None:
        scale = scale * norm.weight.detach().double()
    shift = -norm.running_mean.double() * scale
    if bias is not None:
        shift = shift + bias * scale
    if norm.bias is not None:
        shift = shift + norm.bias.detach().double()
    return weight * scale.view(-1, *[1] * (weight.dim() - 1)), shift
