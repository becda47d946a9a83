"""How much the boxes of a group overlap, some of them at a time so that memory stays small."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch

__all__ = ["OverlapBlock", "earlier_overlaps", "overlaps"]

# Pairs held at a time: on a processor as many as stay in its cache.
_MAX_PAIRS = {"cpu": 2**16}
_MANY_PAIRS = 2**25
_WIDTH = 64

Sides = Sequence[torch.Tensor]


@dataclass(frozen=True, eq=False)
class OverlapBlock:
    """How much some boxes of some groups overlap those that come before them.

    Attributes:
        groups: which groups.
        later: which boxes; this slice ends at M.
        values: (g, b, M); below zero where a box does not come before.
    """

    groups: slice
    later: slice
    values: torch.Tensor


def overlaps(a: torch.Tensor, b: torch.Tensor, centres: bool = False) -> torch.Tensor:
    """Compare boxes: by IoU in torchvision's arithmetic, or also by the distance of their centres.

    Args:
        a: (..., 4) x0, y0, x1, y1.
        b: (..., 4), of a shape that broadcasts with the other.
        centres: take off the squared distance of the centres, over the squared diagonal of the smallest box
            around both (DIoU, Zheng et al., AAAI 2020, https://arxiv.org/abs/1911.08287).

    Returns:
        (...) from 0 to 1, or with ``centres`` above -1. Boxes without area overlap nothing.
    """
    return _compare(a.unbind(dim=-1), b.unbind(dim=-1), centres)


def _compare(a: Sides, b: Sides, centres: bool) -> torch.Tensor:
    (ax0, ay0, ax1, ay1), (bx0, by0, bx1, by1) = a, b
    width = (torch.minimum(ax1, bx1) - torch.maximum(ax0, bx0)).clamp_(min=0)
    height = (torch.minimum(ay1, by1) - torch.maximum(ay0, by0)).clamp_(min=0)
    common = width.mul_(height)
    union = (ax1 - ax0) * (ay1 - ay0) + (bx1 - bx0) * (by1 - by0) - common
    # Nothing in common stays nothing, also where there is no area at all.
    tiny = torch.finfo(union.dtype).tiny
    value = common.div_(union.clamp_(min=tiny))
    if not centres:
        return value
    across = (torch.maximum(ax1, bx1) - torch.minimum(ax0, bx0)).square_()
    diagonal = across.add_((torch.maximum(ay1, by1) - torch.minimum(ay0, by0)).square_())
    right, below = (ax0 + ax1) - (bx0 + bx1), (ay0 + ay1) - (by0 + by1)
    apart = right.square_().add_(below.square_()).mul_(0.25)
    return value.sub_(apart.div_(diagonal.clamp_(min=tiny)))


def earlier_overlaps(
    boxes: torch.Tensor, alive: torch.Tensor, centres: bool = False
) -> Iterator[OverlapBlock]:
    """Compare every box of a group with those before it.

    Args:
        boxes: (G, K, 4).
        alive: (G, K) bool; other boxes overlap nothing.
        centres: see :func:`overlaps`.

    Yields:
        Blocks, of each group the first boxes first.
    """
    size = alive.shape[1]
    # A side's numbers in a row: with those of other sides between them they are read four times as slowly.
    sides = boxes.masked_fill(~alive[..., None], 0).movedim(-1, 0).contiguous()
    limit = _MAX_PAIRS.get(boxes.device.type, _MANY_PAIRS)
    width = max(1, min(_WIDTH if boxes.device.type in _MAX_PAIRS else size, limit // max(size, 1)))
    places = torch.arange(size, device=boxes.device)
    for first in range(0, size, width):
        last = min(first + width, size)
        after = places[None, first:last] >= places[first:last, None]
        step = max(1, limit // ((last - first) * last))
        for start in range(0, len(boxes), step):
            part = slice(start, min(start + step, len(boxes)))
            later, earlier = sides[:, part, first:last, None], sides[:, part, None, :last]
            values = _compare(later.unbind(), earlier.unbind(), centres)
            values[..., first:].masked_fill_(after, -1)
            yield OverlapBlock(part, slice(first, last), values)
