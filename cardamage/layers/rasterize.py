"""Polygons drawn into many boxes at once, on any device, bit for bit as pycocotools draws them.

pycocotools walks along a polygon's outline on a grid five times finer than the mask, notes where the walk
passes from one mask column to the next, and flips the column's pixels from that height down. Here every
(edge, column) pair is solved for that height directly, in float64 as there, so that no walk is needed and
nothing depends on values the host would have to wait for.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from cardamage.structures import PolygonMasks
from cardamage.structures.packed_polygons import PackedPolygons, pack_outlines

__all__ = ["PackedPolygons", "pack_polygons", "rasterize_polygons", "rasterize_polygons_in_boxes"]

# The grid of the outline is this many times finer than the mask; the walk passes from mask column i to the
# next one between the fine columns 5 i + 2 and 5 i + 3.
_SCALE = 5
_PASS = 2
# Farther than any mask reaches; keeps infinities and overflows out of the arithmetic.
_FAR = 2.0**28
# (mask, edge, column) triples solved at a time; each needs some 100 bytes.
_MAX_CELLS = 2**22
_SHORTEST_SIDE = 0.1


def pack_polygons(polygons: Sequence[PolygonMasks]) -> PackedPolygons:
    """Lay the polygons of one or more images out as one table.

    Args:
        polygons: the masks of each image; their instances are numbered through in this order.

    Returns:
        A table of all instances, on the CPU.
    """
    return pack_outlines([instance for masks in polygons for instance in masks.polygons])


def rasterize_polygons_in_boxes(
    packed: PackedPolygons, index: torch.Tensor, boxes: torch.Tensor, size: int
) -> torch.Tensor:
    """Draw instance ``index[k]`` inside box k, stretched to a square mask: the targets of a mask head.

    Equal to :meth:`PolygonMasks.crop_and_resize` for every k, without waiting for the device.

    Args:
        packed: the instances, on the boxes' device.
        index: (K,) int64 into the instances.
        boxes: (K, 4) x0, y0, x1, y1 in pixels; sides shorter than 0.1 count as 0.1.
        size: the side of the masks in cells.

    Returns:
        bool (K, size, size).
    """
    boxes = boxes.detach().to(torch.float32)
    corner, sides = boxes[:, :2], (boxes[:, 2:] - boxes[:, :2]).clamp(min=_SHORTEST_SIDE)
    # Not "size / sides": torch computes that with a reciprocal, which rounds twice.
    ratio = torch.full_like(sides, size).div(sides).to(torch.float64)
    shift, ratio = corner.to(torch.float64).repeat(1, 2), ratio.repeat(1, 2)
    cells = max(1, packed.edges.shape[1] * size, packed.num_polygons * size * (size + 1))
    step = max(1, _MAX_CELLS // cells)
    masks = torch.zeros(len(boxes), size, size, dtype=torch.bool, device=boxes.device)
    if packed.edges.shape[1] == 0:
        return masks
    for start in range(0, len(boxes), step):
        part = slice(start, start + step)
        rows = index[part]
        edges = (packed.edges[rows] - shift[part, None]) * ratio[part, None]
        masks[part] = rasterize_polygons(
            edges, packed.polygon[rows], packed.valid[rows], packed.num_polygons, size, size
        )
    return masks


def rasterize_polygons(
    edges: torch.Tensor,
    polygon: torch.Tensor,
    valid: torch.Tensor,
    num_polygons: int,
    height: int,
    width: int,
) -> torch.Tensor:
    """Draw the union of each instance's polygons as pycocotools does.

    Args:
        edges: (K, E, 4) float64 x, y of start and end, in pixels of the mask.
        polygon: (K, E) int64: which polygon of its instance an edge belongs to.
        valid: (K, E) bool: False for padding.
        num_polygons: the most polygons an instance has.
        height: of the masks.
        width: of the masks.

    Returns:
        bool (K, height, width).
    """
    count = len(edges)
    heights = _crossing_heights(edges, valid, height, width)
    # A flip counter for each polygon, column and height; height itself, which is below the mask, collects
    # what does not cross.
    column = torch.arange(width, device=edges.device)
    bins = (polygon[:, :, None] * width + column) * (height + 1) + heights
    flips = torch.zeros(count, num_polygons * width * (height + 1), dtype=torch.int32, device=edges.device)
    flips.scatter_add_(1, bins.flatten(1), torch.ones_like(flips[:, :1]).expand(-1, bins[0].numel()))
    flips = flips.view(count, num_polygons, width, height + 1)[..., :height]
    inside = flips.cumsum(dim=-1, dtype=torch.int32).bitwise_and_(1).any(dim=1)
    return inside.transpose(1, 2)


def _crossing_heights(edges: torch.Tensor, valid: torch.Tensor, height: int, width: int) -> torch.Tensor:
    """Return for each edge (K, E) and column the first row it flips, int64 (K, E, W); ``height`` for none."""
    # The cast to an integer cuts toward zero, for negative numbers too.
    fine = edges.nan_to_num().mul(_SCALE).add_(0.5).clamp_(-_FAR, _FAR).trunc_()
    x0, y0, x1, y1 = fine.unsqueeze(-2).unbind(-1)
    flat = (x1 - x0).abs() >= (y1 - y0).abs()
    # Each edge is walked in the direction its longer side grows, so that both directions round alike.
    swap = torch.where(flat, x0 > x1, y0 > y1)
    x0, x1 = torch.where(swap, x1, x0), torch.where(swap, x0, x1)
    y0, y1 = torch.where(swap, y1, y0), torch.where(swap, y0, y1)
    before = torch.arange(width, device=edges.device, dtype=edges.dtype) * _SCALE + _PASS
    crosses = (torch.minimum(x0, x1) <= before) & (torch.maximum(x0, x1) > before) & valid[:, :, None]
    fine_height = torch.where(flat, _pass_flat(x0, y0, x1, y1, before), _pass_steep(x0, y0, x1, y1, before))
    row = ((fine_height + (_SCALE - 1 - _PASS)) / _SCALE).floor_().clamp_(0, height)
    return torch.where(crosses, row, height).to(torch.int64)


def _pass_flat(
    x0: torch.Tensor, y0: torch.Tensor, x1: torch.Tensor, y1: torch.Tensor, before: torch.Tensor
) -> torch.Tensor:
    """Return the lesser of the two heights at which an edge that is wider than high passes the border.

    The walk takes every fine column of such an edge; the two are those on either side of the border.
    """
    slope = (y1 - y0) / (x1 - x0)
    step = before - (x0 - (slope < 0).to(x0.dtype))
    return (y0 + slope * step).add_(0.5).floor_()


def _pass_steep(
    x0: torch.Tensor, y0: torch.Tensor, x1: torch.Tensor, y1: torch.Tensor, before: torch.Tensor
) -> torch.Tensor:
    """Return the lesser of the two heights at which an edge that is higher than wide passes the border.

    The walk takes every fine row of such an edge; the last one before it passes is estimated by a division
    and then corrected with the walk's own rounding.
    """
    slope = (x1 - x0) / (y1 - y0)
    rising = slope > 0
    step = ((before + 0.5 - x0) / slope).floor_()
    ahead = step + 1
    not_passed = ((x0 + slope * step).add_(0.5) < before + 1) == rising
    not_passed_ahead = ((x0 + slope * ahead).add_(0.5) < before + 1) == rising
    return step.add_(not_passed).add_(not_passed_ahead).add_(y0 - 1)
