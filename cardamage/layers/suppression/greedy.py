"""Greedy non-maximum suppression of many groups of boxes at once, on a GPU without waiting for it."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torchvision.ops import nms

from ..kernels import support
from .overlaps import earlier_overlaps

__all__ = ["fixed_point_keep", "float32_threshold", "greedy_keep", "one_by_one_keep", "settle"]

# The kernel keeps a bit of every box of a group in registers.
_MAX_KERNEL_BOXES = 16384


def greedy_keep(
    boxes: torch.Tensor,
    alive: torch.Tensor,
    iou_threshold: float,
    centres: bool = False,
    rounds: bool = False,
) -> torch.Tensor:
    """Tell which boxes stay when in every group the first takes those away that overlap it, and so on.

    Every group's result is that of torchvision's ``nms`` on the CPU, to the bit. On an NVIDIA GPU with Triton
    the host does not wait for the device.

    Args:
        boxes: (..., K, 4) x0, y0, x1, y1 of groups of K boxes, the best first; compared in float32.
        alive: (..., K) bool; other boxes neither stay nor suppress.
        iou_threshold: the overlap above which the later box goes, from 0.
        centres: compare the overlap less the distance of the centres, so that objects side by side stay
            (DIoU-NMS, Zheng et al., AAAI 2020, https://arxiv.org/abs/1911.08287).
        rounds: on a processor, too, as :func:`fixed_point_keep`; the result is the same.

    Returns:
        bool (..., K).
    """
    if alive.numel() == 0:
        return alive.clone()
    flat = boxes.detach().float().reshape(-1, *boxes.shape[-2:]).contiguous()
    used = alive.reshape(flat.shape[:2]).contiguous()
    keep = torch.ops.cardamage.greedy_keep(flat, used, float32_threshold(iou_threshold), centres, rounds)
    return keep.view(alive.shape)


def float32_threshold(threshold: float) -> float:
    """Return the greatest float32 that is not above a threshold: a float32 is above the one if the other."""
    limit = np.float32(threshold)
    return float(np.nextafter(limit, np.float32(-np.inf)) if float(limit) > threshold else limit)


# An operator of its own, so that compilers and tensors without values take it as it is.
@torch.library.custom_op(
    "cardamage::greedy_keep",
    mutates_args=(),
    schema="(Tensor boxes, Tensor alive, float iou_threshold, bool centres, bool rounds) -> Tensor",
)
def _greedy_keep(
    boxes: torch.Tensor, alive: torch.Tensor, iou_threshold: float, centres: bool, rounds: bool
) -> torch.Tensor:
    if alive.shape[1] <= _MAX_KERNEL_BOXES:
        keep = support.attempt(
            "greedy suppression", boxes.device, lambda: _launch(boxes, alive, iou_threshold, centres)
        )
        if keep is not None:
            return keep
    if boxes.device.type == "cpu" and not centres and not rounds:
        return one_by_one_keep(boxes, alive, iou_threshold)
    return fixed_point_keep(boxes, alive, iou_threshold, centres)


def _launch(boxes: torch.Tensor, alive: torch.Tensor, iou_threshold: float, centres: bool) -> torch.Tensor:
    from ..kernels.nms import launch_greedy_keep

    return launch_greedy_keep(boxes, alive, iou_threshold, centres)


@_greedy_keep.register_fake
def _(boxes: torch.Tensor, alive: torch.Tensor, *rest: Any) -> torch.Tensor:
    return torch.empty_like(alive)


def one_by_one_keep(boxes: torch.Tensor, alive: torch.Tensor, iou_threshold: float) -> torch.Tensor:
    """Run :func:`greedy_keep` with torchvision's ``nms``, group by group."""
    keep = torch.zeros_like(alive)
    for row, (group, used) in enumerate(zip(boxes, alive, strict=True)):
        index = used.nonzero()[:, 0]
        falling = torch.arange(len(index), 0, -1, dtype=torch.float32, device=boxes.device)
        keep[row, index[nms(group[index], falling, iou_threshold)]] = True
    return keep


def fixed_point_keep(
    boxes: torch.Tensor, alive: torch.Tensor, iou_threshold: float, centres: bool = False
) -> torch.Tensor:
    """Run :func:`greedy_keep` with plain tensor operations, all groups at once.

    What stays is what no box that stays overlaps from before (Cluster-NMS, Zheng et al.,
    https://arxiv.org/abs/2005.03572). Starting from all boxes, each round settles at least one more place for
    good, in practice many; the host waits once a round.
    """
    return settle(_pairs_above(boxes, alive, iou_threshold, centres), alive)


def settle(pairs: tuple[torch.Tensor, torch.Tensor], alive: torch.Tensor) -> torch.Tensor:
    """Strike off what overlaps a box that stays, round by round until no round changes anything.

    Args:
        pairs: (P,) int64 each, places in the flattened groups: boxes, and those before that they overlap.
        alive: (G, K) bool.

    Returns:
        bool (G, K).
    """
    later, earlier = pairs
    keep = alive.clone()
    while True:
        struck = torch.zeros_like(alive).view(-1).index_fill_(0, later[keep.view(-1)[earlier]], True)
        left = alive & ~struck.view_as(alive)
        if torch.equal(left, keep):
            return keep
        keep = left


def _pairs_above(
    boxes: torch.Tensor, alive: torch.Tensor, threshold: float, centres: bool
) -> tuple[torch.Tensor, torch.Tensor]:
    """Find, as places in the flattened groups, the boxes that overlap earlier ones too much, and these."""
    size = alive.shape[1]
    later, earlier = [], []
    for block in earlier_overlaps(boxes, alive, centres):
        group, box, other = (block.values > threshold).nonzero().unbind(dim=1)
        first = (group + block.groups.start) * size
        later.append(first + box + block.later.start)
        earlier.append(first + other)
    return torch.cat(later), torch.cat(earlier)
