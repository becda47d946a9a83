"""Greedy non-maximum suppression of many groups of boxes at once, on a GPU without waiting for it."""

from __future__ import annotations

import numpy as np
import torch
from torchvision.ops import nms

from .kernels import support

__all__ = ["greedy_keep"]

# Pairs of boxes compared at a time without Triton, some numbers each.
_MAX_PAIRS = 2**25
# The kernel keeps a bit of every box of a group in registers.
_MAX_KERNEL_BOXES = 16384


def greedy_keep(boxes: torch.Tensor, alive: torch.Tensor, iou_threshold: float) -> torch.Tensor:
    """Tell which boxes stay when in every group the first takes those away that overlap it, and so on.

    Every group's result is that of torchvision's ``nms`` on the CPU, to the bit. On an NVIDIA GPU with Triton
    the host does not wait for the device.

    Args:
        boxes: (..., K, 4) x0, y0, x1, y1 of groups of K boxes, the best first; compared in float32.
        alive: (..., K) bool; other boxes neither stay nor suppress.
        iou_threshold: the overlap above which the later box goes.

    Returns:
        bool (..., K).
    """
    if alive.numel() == 0:
        return alive.clone()
    flat = boxes.detach().float().reshape(-1, *boxes.shape[-2:]).contiguous()
    # A float32 is above the threshold where it is above the greatest float32 that is not.
    limit = np.float32(iou_threshold)
    if float(limit) > iou_threshold:
        limit = np.nextafter(limit, np.float32(-np.inf))
    keep = torch.ops.cardamage.greedy_keep(flat, alive.reshape(flat.shape[:2]).contiguous(), float(limit))
    return keep.view(alive.shape)


# An operator of its own, so that compilers and tensors without values take it as it is.
@torch.library.custom_op(
    "cardamage::greedy_keep",
    mutates_args=(),
    schema="(Tensor boxes, Tensor alive, float iou_threshold) -> Tensor",
)
def _greedy_keep(boxes: torch.Tensor, alive: torch.Tensor, iou_threshold: float) -> torch.Tensor:
    size = alive.shape[1]
    keep = None
    if size <= _MAX_KERNEL_BOXES:
        keep = support.attempt(
            "greedy suppression", boxes.device, lambda: _launch(boxes, alive, iou_threshold)
        )
    if keep is not None:
        return keep
    if boxes.device.type != "cpu" and size * size <= _MAX_PAIRS:
        return fixed_point_keep(boxes, alive, iou_threshold)
    return one_by_one_keep(boxes, alive, iou_threshold)


def _launch(boxes: torch.Tensor, alive: torch.Tensor, iou_threshold: float) -> torch.Tensor:
    from .kernels.nms import launch_greedy_keep

    return launch_greedy_keep(boxes, alive, iou_threshold)


@_greedy_keep.register_fake
def _(boxes: torch.Tensor, alive: torch.Tensor, iou_threshold: float) -> torch.Tensor:
    return torch.empty_like(alive)


def one_by_one_keep(boxes: torch.Tensor, alive: torch.Tensor, iou_threshold: float) -> torch.Tensor:
    """Run :func:`greedy_keep` with torchvision's ``nms``, group by group."""
    keep = torch.zeros_like(alive)
    for row, (group, used) in enumerate(zip(boxes, alive, strict=True)):
        index = used.nonzero()[:, 0]
        falling = torch.arange(len(index), 0, -1, dtype=torch.float32, device=boxes.device)
        keep[row, index[nms(group[index], falling, iou_threshold)]] = True
    return keep


def fixed_point_keep(boxes: torch.Tensor, alive: torch.Tensor, iou_threshold: float) -> torch.Tensor:
    """Run :func:`greedy_keep` with plain tensor operations, all groups at once.

    What stays is what no box that stays overlaps from before. Starting from all boxes, each round settles at
    least one more place for good, in practice many; the host waits once a round.
    """
    keep = alive.clone()
    step = max(1, _MAX_PAIRS // alive.shape[1] ** 2)
    for start in range(0, len(alive), step):
        part = slice(start, start + step)
        over = _overlaps(boxes[part], iou_threshold)
        while True:
            left = alive[part] & ~(over & keep[part, :, None]).any(dim=1)
            if torch.equal(left, keep[part]):
                break
            keep[part] = left
    return keep


def _overlaps(boxes: torch.Tensor, iou_threshold: float) -> torch.Tensor:
    """Return, as bool (G, K, K), which box overlaps which later one too much, in torchvision's arithmetic."""
    low = torch.maximum(boxes[:, :, None, :2], boxes[:, None, :, :2])
    high = torch.minimum(boxes[:, :, None, 2:], boxes[:, None, :, 2:])
    sides = (high - low).clamp_(min=0)
    common = sides[..., 0] * sides[..., 1]
    area = (boxes[..., 2] - boxes[..., 0]) * (boxes[..., 3] - boxes[..., 1])
    iou = common / (area[:, :, None] + area[:, None, :] - common)
    return (iou > iou_threshold).triu_(diagonal=1)
