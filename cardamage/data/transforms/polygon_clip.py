"""Clipping of polygons to an axis-aligned window, in numpy.

Each side of the window is one half-plane cut. A concave outline can fall apart into several pieces there, and
its bounding box must not reach along the window's border between them; so the pieces are separated: the
points where the outline crosses the border are sorted along it, and neighbours (first with second, third with
fourth) bound the stretches of border that lie inside the outline.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

__all__ = ["clip_polygon"]


class _Crossing(NamedTuple):
    """One point where the outline crosses the cutting line."""

    along: float
    slope: float  # how ``along`` changes going outwards: orders crossings that share one vertex on the line
    chain: int
    is_exit: bool


def clip_polygon(points: np.ndarray, x0: float, y0: float, x1: float, y1: float) -> list[np.ndarray]:
    """Intersect a polygon with the window [x0, x1] x [y0, y1].

    Args:
        points: (P, 2) floating corners of one ring, x before y; it may be concave.
        x0: left border of the window.
        y0: top border.
        x1: right border.
        y1: bottom border.

    Returns:
        The pieces, each (Q, 2) float64 with Q >= 3 and an area above zero, counter-clockwise on the picture
        (y down), as GEOS gives them; an empty list when nothing is left. Outlines that cross themselves stay
        in one piece, joined along the window's border.
    """
    pieces = [np.asarray(points, dtype=np.float64).reshape(-1, 2)]
    for axis, sign, bound in ((0, 1.0, x0), (0, -1.0, x1), (1, 1.0, y0), (1, -1.0, y1)):
        pieces = [part for piece in pieces for part in _cut(piece, axis, sign, bound)]
    cleaned = map(_without_repeats, pieces)
    return [_turned(piece) for piece in cleaned if len(piece) >= 3 and not _is_flat(piece)]


def _turned(points: np.ndarray) -> np.ndarray:
    """The ring in the direction in which its signed area is not above zero; a turned one keeps its start."""
    x, y = points.T
    area = np.sum(x * np.roll(y, -1) - y * np.roll(x, -1))
    return points if area <= 0 else np.roll(points[::-1], 1, axis=0)


def _without_repeats(points: np.ndarray) -> np.ndarray:
    if len(points) == 0:
        return points
    return points[np.any(points != np.roll(points, 1, axis=0), axis=1)]


def _is_flat(points: np.ndarray) -> bool:
    """Whether all points lie on one line (an area of zero says less: a symmetric bow tie has it too)."""
    arms = points - points[0]
    longest = arms[np.argmax((arms**2).sum(axis=1))]
    return float(np.abs(arms[:, 0] * longest[1] - arms[:, 1] * longest[0]).max()) <= 1e-12 * float(
        longest @ longest
    )


def _cut(points: np.ndarray, axis: int, sign: float, bound: float) -> list[np.ndarray]:
    """Keep the part of the ring where ``sign * (coordinate - bound) >= 0``."""
    depth = sign * (points[:, axis] - bound)
    inside = depth >= 0
    if inside.all():
        return [points]
    if not inside.any():
        return []
    start = int(np.argmax(inside & ~np.roll(inside, 1)))  # a vertex just after an entry
    points, depth = np.roll(points, -start, axis=0), np.roll(depth, -start)
    chains, crossings = _chains(points, depth, axis, bound)
    return _join(chains, crossings)


def _chains(
    points: np.ndarray, depth: np.ndarray, axis: int, bound: float
) -> tuple[list[np.ndarray], list[_Crossing]]:
    """Runs of inside vertices with the border points before and after them, in ring order."""
    inside = depth >= 0
    first = np.flatnonzero(inside & ~np.roll(inside, 1))
    last = np.flatnonzero(inside & ~np.roll(inside, -1))
    chains, crossings = [], []
    for k, (a, b) in enumerate(zip(first.tolist(), last.tolist(), strict=True)):
        entry, entry_slope = _crossing(points, depth, a, a - 1, axis, bound)
        leave, leave_slope = _crossing(points, depth, b, (b + 1) % len(points), axis, bound)
        chains.append(np.concatenate([entry[None], points[a : b + 1], leave[None]]))
        crossings.append(_Crossing(float(entry[1 - axis]), entry_slope, k, False))
        crossings.append(_Crossing(float(leave[1 - axis]), leave_slope, k, True))
    return chains, crossings


def _crossing(
    points: np.ndarray, depth: np.ndarray, within: int, beyond: int, axis: int, bound: float
) -> tuple[np.ndarray, float]:
    step = points[beyond] - points[within]
    span = depth[within] - depth[beyond]
    point = points[within] + step * (depth[within] / span)
    point[axis] = bound
    return point, float(step[1 - axis] / span)


def _join(chains: list[np.ndarray], crossings: list[_Crossing]) -> list[np.ndarray]:
    """Close the chains into rings along the border."""
    order = sorted(crossings)
    follow: dict[int, int] = {}
    for one, other in zip(order[::2], order[1::2], strict=True):
        if one.is_exit == other.is_exit:  # only outlines that cross themselves get here
            return [np.concatenate(chains)]
        leave, entry = (one, other) if one.is_exit else (other, one)
        follow[leave.chain] = entry.chain
    rings = []
    while follow:
        begin = chain = next(iter(follow))
        ring = []
        while chain in follow:
            ring.append(chains[chain])
            chain = follow.pop(chain)
        assert chain == begin  # the pairing is a permutation, so every walk closes
        rings.append(np.concatenate(ring))
    return rings
