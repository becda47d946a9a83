"""Whether points lie inside outlines or on bitmaps, for many objects at once and on any device."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from cardamage.structures.packed_polygons import PackedPolygons

from .point_sampling import bilinear_taps

__all__ = ["points_in_polygons", "points_on_bitmaps"]

# (row, point, edge) triples looked at at a time; each needs some 50 bytes.
_MAX_CELLS = 2**22


def points_in_polygons(packed: PackedPolygons, index: torch.Tensor, points: torch.Tensor) -> torch.Tensor:
    """Tell which points lie inside instance ``index[k]``: right of them are an odd number of edges.

    Args:
        packed: the instances, on the points' device.
        index: (K,) int64 into the instances.
        points: (K, P, 2) x and y in pixels.

    Returns:
        (K, P) bool: inside any of the instance's polygons, without waiting for the device.
    """
    inside = torch.zeros(points.shape[:2], dtype=torch.bool, device=points.device)
    if packed.edges.shape[1] == 0 or inside.numel() == 0:
        return inside
    step = max(1, _MAX_CELLS // (packed.edges.shape[1] * points.shape[1]))
    for start in range(0, len(points), step):
        part = slice(start, start + step)
        rows = index[part]
        crossed = _crossed(packed.edges[rows], packed.valid[rows], points[part].to(packed.edges.dtype))
        inside[part] = _any_odd(crossed, packed.polygon[rows], packed.num_polygons)
    return inside


def _crossed(edges: torch.Tensor, valid: torch.Tensor, points: torch.Tensor) -> torch.Tensor:
    """Tell for (K, E, 4) edges and (K, P, 2) points whether an edge is level with a point and right of it."""
    x0, y0, x1, y1 = edges[:, None].unbind(-1)
    x, y = points[:, :, None].unbind(-1)
    # An end belongs to the edge above it, so that a corner counts once.
    level = ((y0 > y) != (y1 > y)) & valid[:, None]
    return level & (x < x0 + (y - y0) * ((x1 - x0) / (y1 - y0)))


def _any_odd(crossed: torch.Tensor, polygon: torch.Tensor, num_polygons: int) -> torch.Tensor:
    """Count (K, P, E) crossings for every polygon and tell where any count is odd, (K, P)."""
    if num_polygons == 1:
        return crossed.sum(dim=2).bitwise_and_(1).bool()
    counts = torch.zeros(*crossed.shape[:2], num_polygons, dtype=torch.int32, device=crossed.device)
    counts.scatter_add_(2, polygon[:, None].expand_as(crossed), crossed.to(torch.int32))
    return counts.bitwise_and_(1).any(dim=2)


def points_on_bitmaps(
    bitmaps: Sequence[torch.Tensor], index: torch.Tensor, points: torch.Tensor
) -> torch.Tensor:
    """Read instance ``index[k]``'s bitmap at points, bilinearly and with zeros outside.

    Args:
        bitmaps: per image (G, H, W) bool; the instances of all are numbered through.
        index: (K,) int64 into the instances.
        points: (K, P, 2) x and y in pixels.

    Returns:
        (K, P) float32 from 0 to 1, without waiting for the device.
    """
    shapes = [(len(part), *part.shape[1:]) for part in bitmaps]
    sizes = torch.tensor([[w, h] for count, h, w in shapes for _ in range(count)]).view(-1, 2)
    if len(sizes) == 0 or points.numel() == 0:
        return torch.zeros(points.shape[:2], dtype=torch.float32, device=points.device)
    ends = sizes.prod(dim=1).cumsum(dim=0)
    table = torch.cat([sizes, (ends - sizes.prod(dim=1))[:, None]], dim=1)
    rows = table.to(points.device, non_blocking=True)[index]
    pixels = torch.cat([part.reshape(-1) for part in bitmaps]).to(points.device, non_blocking=True)
    cells, weight = bilinear_taps(points, rows[:, None, :2])
    return (pixels[cells + rows[:, 2, None, None]] * weight).sum(dim=2).to(torch.float32)
