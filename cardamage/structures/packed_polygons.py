"""The outlines of many objects as one table of tensors, which moves to a device in one piece."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

__all__ = ["PackedPolygons", "pack_outlines"]


@dataclass(eq=False)
class PackedPolygons:
    """The outlines of G instances as one padded table of edges.

    Attributes:
        edges: (G, E, 4) float64: x, y of an edge's start, then of its end, in pixels.
        polygon: (G, E) int64: which of its instance's polygons an edge belongs to.
        valid: (G, E) bool: False for padding.
        num_polygons: the most polygons an instance has.
    """

    edges: torch.Tensor
    polygon: torch.Tensor
    valid: torch.Tensor
    num_polygons: int

    def __len__(self) -> int:
        return self.edges.shape[0]

    def to(self, device: Any, non_blocking: bool = False) -> PackedPolygons:
        """Move the table to a device."""
        if self.edges.device == torch.device(device):
            return self
        return PackedPolygons(
            self.edges.to(device, non_blocking=non_blocking),
            self.polygon.to(device, non_blocking=non_blocking),
            self.valid.to(device, non_blocking=non_blocking),
            self.num_polygons,
        )

    def outlines(self, first: int, count: int) -> list[list[np.ndarray]]:
        """Take the polygons of some neighbouring instances out of the table again.

        Args:
            first: the first instance.
            count: how many there are.

        Returns:
            Per instance a list of float64 vectors x0, y0, x1, y1, ..., bit for bit those packed.
        """
        rows = slice(first, first + count)
        tensors = (self.edges[rows, :, :2], self.polygon[rows], self.valid[rows])
        points, polygon, valid = (tensor.cpu().numpy() for tensor in tensors)
        result = []
        for row, used in enumerate(valid.sum(axis=1).tolist()):
            own = points[row, :used]
            borders = np.flatnonzero(np.diff(polygon[row, :used])) + 1
            result.append([part.flatten() for part in np.split(own, borders)] if used else [])
        return result


def pack_outlines(instances: Sequence[Sequence[np.ndarray]]) -> PackedPolygons:
    """Lay the polygons of instances out as one table.

    Args:
        instances: per instance its polygons, vectors x0, y0, x1, y1, ... of at least one point.

    Returns:
        The table, on the CPU.
    """
    polygons = [np.asarray(polygon, np.float64) for instance in instances for polygon in instance]
    lengths = np.array([len(polygon) // 2 for polygon in polygons], np.int64)
    parts = np.array([len(instance) for instance in instances], np.int64)
    owner = np.repeat(np.arange(len(instances)), parts)
    number = np.arange(len(polygons)) - np.repeat(parts.cumsum() - parts, parts)
    sizes = np.bincount(owner, lengths, minlength=len(instances)).astype(np.int64)
    row = np.repeat(owner, lengths)
    place = np.arange(len(row)) - np.repeat(sizes.cumsum() - sizes, sizes)
    shape = (len(instances), int(sizes.max(initial=0)))
    edges, polygon_of = np.zeros((*shape, 4)), np.zeros(shape, np.int64)
    valid = np.arange(shape[1]) < sizes[:, None]
    if polygons:
        points = np.concatenate(polygons).reshape(-1, 2)
        edges[row, place] = np.concatenate([points, points[_next_points(lengths)]], axis=1)
        polygon_of[row, place] = np.repeat(number, lengths)
    tables = (torch.from_numpy(edges), torch.from_numpy(polygon_of), torch.from_numpy(valid))
    return PackedPolygons(*tables, num_polygons=int(parts.max(initial=0)))


def _next_points(lengths: np.ndarray) -> np.ndarray:
    """Return for each point of polygons in a row the one its edge leads to."""
    following = np.arange(1, lengths.sum() + 1)
    ends = lengths.cumsum()
    following[ends - 1] = ends - lengths
    return following
