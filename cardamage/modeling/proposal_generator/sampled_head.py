"""The RPN's predictions for a sample of anchors, computed from the pixels these look at.

A step learns from a few hundred of some 240000 anchors, so nearly all of the gradient that flows back
through the head is zero. Computed for the sample alone, the same losses have the same gradients without
the two convolutions over whole feature maps that the backward pass otherwise is.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from cardamage.layers import Conv2d
from cardamage.utils.compiling import region

from .rpn_head import StandardRPNHead

__all__ = ["can_predict_sampled", "predict_sampled"]

# A sampled anchor costs some 9 rows of gathered pixels: no gain where the sample is a large part of the maps.
_MOST_OF_ANCHORS = 1 / 8


def can_predict_sampled(head: nn.Module, num_samples: int, num_anchors: int) -> bool:
    """Tell whether a head's predictions for a sample can be computed alone, and it pays.

    Args:
        head: the head of an RPN.
        num_samples: sampled anchors of an image.
        num_anchors: all anchors of an image.

    Returns:
        True for a :class:`StandardRPNHead` itself with one 3x3 layer, and a small sample.
    """
    if type(head) is not StandardRPNHead or num_samples > num_anchors * _MOST_OF_ANCHORS:
        return False
    conv: Any = head.conv
    plain = type(conv) is Conv2d and conv.norm is None and type(conv.activation) is nn.ReLU
    layers: tuple[Any, ...] = (head, conv, head.objectness_logits, head.anchor_deltas)
    hooked = any(m._forward_hooks or m._forward_pre_hooks or m._backward_hooks for m in layers)
    return plain and not hooked and conv.kernel_size == (3, 3) and conv.padding == (1, 1)


@region
def predict_sampled(
    head: StandardRPNHead, maps: Sequence[torch.Tensor], index: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Predict for some anchors of every image, with gradients; equal to the whole head's but for rounding.

    Args:
        head: one that :func:`can_predict_sampled`.
        maps: per level (N, C, Hi, Wi).
        index: (N, S) int64 into the anchors of all levels, ordered as those of the anchor generator.

    Returns:
        (N, S) logits and (N, S, box_dim) offsets.
    """
    num_anchors = head.objectness_logits.out_channels
    patches = _patches(maps, index.div(num_anchors, rounding_mode="floor"))
    hidden = F.relu(_linear(head.conv, patches))
    anchor = (index % num_anchors)[:, :, None]
    logits = _linear(head.objectness_logits, hidden).gather(2, anchor)[:, :, 0]
    deltas = _linear(head.anchor_deltas, hidden).unflatten(2, (num_anchors, -1))
    chosen = deltas.gather(2, anchor[..., None].expand(-1, -1, 1, deltas.shape[3]))
    return logits, chosen[:, :, 0]


def _linear(conv: nn.Module, pixels: torch.Tensor) -> torch.Tensor:
    """Apply a convolution to (N, S, kh * kw * C) patches of its own size."""
    weight = conv.get_parameter("weight").permute(0, 2, 3, 1).flatten(1)
    # Not the parameter itself: autocast, in older torch, hands out the copy it made for the proposals, which
    # has no gradient.
    return F.linear(pixels, weight, conv.get_parameter("bias").view(-1))


def _patches(maps: Sequence[torch.Tensor], cells: torch.Tensor) -> torch.Tensor:
    """Cut (N, S, 9 * C) patches of 3x3 around cells that are numbered through all levels."""
    found: torch.Tensor | None = None
    start = 0
    for level in maps:
        height, width = level.shape[2:]
        cell = cells - start
        start += height * width
        here = (cell >= 0) & (cell < height * width)
        # Cells of other levels point all over the map: in one place, their zero gradients would queue up.
        patch = _level_patches(level, cell.remainder(height * width), here)
        found = patch if found is None else found + patch
    assert found is not None
    return found


def _level_patches(level: torch.Tensor, cell: torch.Tensor, here: torch.Tensor) -> torch.Tensor:
    """Cut (N, S, 9 * C) patches of one level, zero beyond its border and where not ``here``."""
    num_images, channels, height, width = level.shape
    step = torch.arange(-1, 2, device=cell.device)
    y = (cell.div(width, rounding_mode="floor")[..., None] + step)[..., :, None]
    x = (cell % width)[..., None, None] + step
    inside = (y >= 0) & (y < height) & (x >= 0) & (x < width) & here[..., None, None]
    image = torch.arange(num_images, device=cell.device)[:, None, None, None]
    y, x = y.clamp(0, height - 1), x.clamp(0, width - 1)
    # Rows of a table: their gradient is the same in every run on a CPU, where threads that add to a map's
    # elements one by one would round in any order.
    rows = (image * height + y) * width + x
    table = level.permute(0, 2, 3, 1).reshape(-1, channels)
    pixels = table.index_select(0, rows.flatten()).view(*rows.shape, channels)
    return (pixels * inside[..., None]).flatten(2)
