"""Suppression by the overlap of masks: thin objects that cross stay, whatever their boxes share."""

from __future__ import annotations

import torch

__all__ = ["mask_keep", "mask_overlaps"]

# Points along each side of what two boxes share. Masks have 28, of a whole box.
_POINTS = 32
# Numbers held at a time of all pairs' rasters.
_MAX_NUMBERS = {"cpu": 2**22}
_MANY_NUMBERS = 2**27


def mask_overlaps(
    masks: torch.Tensor, boxes: torch.Tensor, compared: torch.Tensor, threshold: float = 0.5
) -> torch.Tensor:
    """Compute the IoU of masks that are told relative to their boxes.

    Both masks of a pair are looked at on a raster of 32 x 32 points over the region that their boxes share,
    with the bilinear values that they have when pasted. So a thin region is seen as finely as a large one,
    whatever the picture's size; beside masks that are pasted the IoU is off by about a hundredth. The host
    does not wait for a GPU.

    Args:
        masks: (N, D, M, M) probabilities.
        boxes: (N, D, 4) x0, y0, x1, y1.
        compared: (N, D, D) bool, symmetric: the pairs that count.
        threshold: the probability from which on a point is inside.

    Returns:
        (N, D, D) float32, symmetric; 0 for other pairs and on the diagonal.
    """
    n, size = boxes.shape[:2]
    flat_masks, flat_boxes = masks.detach().float().flatten(0, 1), boxes.detach().float().flatten(0, 1)
    with torch.autocast(boxes.device.type, enabled=False):
        sides = flat_boxes[:, 2:] - flat_boxes[:, :2]
        areas = sides.prod(dim=1) * _share(flat_masks, flat_boxes, flat_boxes, threshold)
        one, other = _pairs(boxes, compared)
        result = flat_boxes.new_zeros(n, size, size)
        step = max(1, _limit(boxes) // (_POINTS * max(_POINTS, masks.shape[-1])))
        for start in range(0, len(one), step):
            i, j = one[start : start + step], other[start : start + step]
            low = torch.maximum(flat_boxes[i, :2], flat_boxes[j, :2])
            high = torch.minimum(flat_boxes[i, 2:], flat_boxes[j, 2:]).maximum(low)
            region = torch.cat((low, high), dim=1)
            both = _inside(flat_masks[i], flat_boxes[i], region, threshold)
            both &= _inside(flat_masks[j], flat_boxes[j], region, threshold)
            common = (high - low).prod(dim=1) * both.float().mean(dim=(1, 2))
            union = areas[i] + areas[j] - common
            # A raster of its own for each area: of masks that are alike the sum can be a little off.
            iou = (common / union.clamp(min=torch.finfo(union.dtype).tiny)).clamp_(max=1)
            result[i // size, i % size, j % size] = iou
    return (result + result.mT).masked_fill_(~compared, 0)


def mask_keep(
    masks: torch.Tensor,
    boxes: torch.Tensor,
    scores: torch.Tensor,
    groups: torch.Tensor,
    alive: torch.Tensor,
    iou_threshold: float,
    most: int = -1,
) -> torch.Tensor:
    """Tell which detections stay when the best takes those of its group away whose masks overlap its own.

    Args:
        masks: (N, D, M, M) probabilities.
        boxes: (N, D, 4) x0, y0, x1, y1.
        scores: (N, D); of equal ones the first comes first.
        groups: (N, D) int64; masks of different groups leave each other alone.
        alive: (N, D) bool; others neither stay nor suppress.
        iou_threshold: the overlap above which the lower-scored one goes.
        most: how many stay at most of each of N, the best; negative for no limit.

    Returns:
        bool (N, D).
    """
    order = scores.float().masked_fill(~alive, -torch.inf).sort(dim=1, descending=True, stable=True).indices
    rank = order.argsort(dim=1)
    better = rank[:, None, :] < rank[:, :, None]
    compared = (groups[:, :, None] == groups[:, None, :]) & alive[:, :, None] & alive[:, None, :]
    over = (mask_overlaps(masks, boxes, compared) > iou_threshold) & better
    keep = torch.ops.cardamage.overlap_keep(over, alive)
    if most >= 0:
        keep = keep & ((better & keep[:, None, :]).sum(dim=2) < most)
    return keep


# An operator of its own, so that compilers and tensors without values take it as it is.
@torch.library.custom_op(
    "cardamage::overlap_keep", mutates_args=(), schema="(Tensor over, Tensor alive) -> Tensor"
)
def _overlap_keep(over: torch.Tensor, alive: torch.Tensor) -> torch.Tensor:
    """Strike off, in rounds until none changes anything, what overlaps a better one that stays.

    The host waits once a round, mostly three or four times.
    """
    keep = alive.clone()
    while True:
        left = alive & ~(over & keep[:, None, :]).any(dim=2)
        if torch.equal(left, keep):
            return keep
        keep = left


@_overlap_keep.register_fake
def _(over: torch.Tensor, alive: torch.Tensor) -> torch.Tensor:
    return torch.empty_like(alive)


def _limit(values: torch.Tensor) -> int:
    return _MAX_NUMBERS.get(values.device.type, _MANY_NUMBERS)


def _pairs(boxes: torch.Tensor, compared: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the places of all pairs in the flattened images; on a processor of those that can overlap."""
    n, size = boxes.shape[:2]
    if boxes.device.type == "cpu":
        low = torch.maximum(boxes[:, :, None, :2], boxes[:, None, :, :2])
        high = torch.minimum(boxes[:, :, None, 2:], boxes[:, None, :, 2:])
        image, one, other = ((high > low).all(dim=3) & compared).tril(diagonal=-1).nonzero().unbind(dim=1)
        return image * size + one, image * size + other
    first = torch.arange(n, device=boxes.device)[:, None] * size
    one, other = torch.tril_indices(size, size, -1, device=boxes.device)
    return (first + one).flatten(), (first + other).flatten()


def _share(masks: torch.Tensor, boxes: torch.Tensor, regions: torch.Tensor, threshold: float) -> torch.Tensor:
    """Return which share of its region every mask covers, (R,)."""
    return _inside(masks, boxes, regions, threshold).float().mean(dim=(1, 2))


def _inside(
    masks: torch.Tensor, boxes: torch.Tensor, regions: torch.Tensor, threshold: float
) -> torch.Tensor:
    """Tell which points of a raster over its region every mask covers: bool (R, 32, 32)."""
    cells = masks.shape[-1]
    across = _weights(boxes[:, 0::2], regions[:, 0::2], cells)
    down = _weights(boxes[:, 1::2], regions[:, 1::2], cells)
    return down @ masks @ across.mT >= threshold


def _weights(spans: torch.Tensor, regions: torch.Tensor, cells: int) -> torch.Tensor:
    """Return how much every cell counts at every point along one side: (R, 32, cells), bilinear."""
    points = (torch.arange(_POINTS, device=spans.device) + 0.5) / _POINTS
    place = regions[:, :1] + points * (regions[:, 1:] - regions[:, :1])
    length = (spans[:, 1:] - spans[:, :1]).clamp(min=torch.finfo(spans.dtype).tiny)
    cell = (place - spans[:, :1]) / length * cells - 0.5
    distance = (cell[:, :, None] - torch.arange(cells, device=spans.device)).abs()
    return (1 - distance).clamp_(min=0)
