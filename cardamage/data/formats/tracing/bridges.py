"""Parts of an object joined into one outline by bridges, and such bridges taken out again.

A bridge is walked there and back between the same two points. Drawn by pycocotools it has no width, see
:mod:`.mask_outlines`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pycocotools.mask as mask_util

from ...annotations import outlines
from ...annotations.run_lengths import same_mask

__all__ = ["joined", "parted", "signed_area", "unbridged"]

_Point = tuple[float, float]

# Twice that of a part, in pixels. What is below it is rounding.
_LEAST_AREA = 1e-6
# Pairs of points that are compared for the shortest bridge; of longer outlines only some points are.
_MOST_PAIRS = 1_000_000


def joined(rings: Sequence[np.ndarray]) -> np.ndarray:
    """Make one ring of several, by bridges of no width between the nearest points of each and the next.

    All are turned the same way, so that their areas add up. Drawn by pycocotools, the ring is where an odd
    number of the given ones are: all of them where none overlap.

    Args:
        rings: (points, 2) each, one or more, at least one point in each.

    Returns:
        (points, 2).
    """
    turned = [ring if signed_area(ring) >= 0 else ring[::-1] for ring in rings]
    if len(turned) == 1:
        return turned[0]
    there: list[np.ndarray] = []
    back: list[np.ndarray] = []
    start = 0
    for n, ring in enumerate(turned):
        if n + 1 == len(turned):
            there.append(np.roll(ring, -start, axis=0))
            back.append(ring[start : start + 1])
            break
        leave, arrive = _nearest(ring, turned[n + 1])
        if n == 0:
            start = leave
        ring = np.roll(ring, -start, axis=0)
        middle = (leave - start) % len(ring)
        there.append(ring[: middle + 1])
        # The last outline to go back on is closed by itself.
        back.append(np.concatenate([ring[middle:], ring[:1]]) if n else ring)
        start = arrive
    return np.concatenate([*there, *back[::-1]])


def _nearest(one: np.ndarray, other: np.ndarray) -> tuple[int, int]:
    step = int(np.ceil(np.sqrt(len(one) * len(other) / _MOST_PAIRS)))
    difference = one[::step, None] - other[None, ::step]
    i, j = divmod(int(np.square(difference).sum(axis=2).argmin()), -(-len(other) // step))
    return i * step, j * step


def parted(ring: np.ndarray, height: int, width: int) -> list[np.ndarray]:
    """Take out the bridges between the parts of an object; holes stay joined to what is around them.

    Args:
        ring: (points, 2), such as :func:`joined` returns, by whatever tool.
        height: of the image.
        width: of the image.

    Returns:
        The parts, (points, 2) each, where drawn by pycocotools they are together the very mask that the ring
        is; otherwise, or where there are no bridges, the ring alone.
    """
    points = [(x, y) for x, y in ring.tolist()]
    size = (width, height)
    if len(set(points)) == len(points) or not ((ring >= 0) & (ring <= size)).all():
        return [ring]
    # The first point of all lies on the rim of a part, not on that of a hole.
    first = points.index(min(points))
    walk = points[first:] + points[:first]
    areas, bridges = _loops(walk)
    whole = _drawn([ring], height, width)
    # Parts that go round the other way look like holes. So without holes first, then with.
    for holes in (False, True):
        parts = _cut(walk, [bridge for bridge in bridges if _is_between_parts(bridge, areas, holes)])
        if len(parts) > 1 and same_mask(_drawn(parts, height, width), whole):
            return parts
    return [ring]


def unbridged(ring: np.ndarray) -> list[np.ndarray]:
    """Take out all bridges: between the parts of an object, and to its holes.

    Args:
        ring: (points, 2).

    Returns:
        The loops, parts and holes alike, (points, 2) each; the ring alone where there are no bridges.
    """
    points = [(x, y) for x, y in ring.tolist()]
    if len(set(points)) == len(points):
        return [ring]
    areas, bridges = _loops(points)
    ends = [
        bridge for bridge in bridges if min(abs(areas[bridge.near]), abs(areas[bridge.far])) > _LEAST_AREA
    ]
    return (_cut(points, ends) if ends else []) or [ring]


class _Bridge(NamedTuple):
    """The steps of a walk there and back, and the loops at both ends."""

    there: int
    back: int
    near: int
    far: int


def _loops(walk: Sequence[_Point]) -> tuple[list[float], list[_Bridge]]:
    """What is left of a walk without its bridges: twice the signed area of each loop, the first one's first.

    There are no bridges where they are not one within the other.
    """
    steps = list(zip(walk, [*walk[1:], walk[0]], strict=True))
    last = {step: number for number, step in enumerate(steps)}
    x, y = (np.array(walk) - walk[0]).T
    sweep = (x * np.roll(y, -1) - y * np.roll(x, -1)).tolist()
    areas, bridges = [0.0], []
    there: list[int] = []
    inside = [0]
    for number, (start, end) in enumerate(steps):
        if there and steps[there[-1]] == (end, start):
            far = inside.pop()
            bridges.append(_Bridge(there.pop(), number, inside[-1], far))
        elif last.get((end, start), -1) > number:
            there.append(number)
            inside.append(len(areas))
            areas.append(0.0)
        else:
            areas[inside[-1]] += sweep[number]
    return areas, [] if there else bridges


def _is_between_parts(bridge: _Bridge, areas: Sequence[float], holes: bool) -> bool:
    """Whether a bridge joins two parts, and not a hole to what is around it.

    Args:
        bridge: a bridge.
        areas: of all loops; the first is a part's rim.
        holes: whether loops that go round the other way are holes.
    """
    ends = (areas[bridge.near], areas[bridge.far])
    if min(map(abs, ends)) <= _LEAST_AREA:
        return False
    around = [area for area in ends if area * areas[0] > 0]
    if not holes or len(around) == 2:
        return True
    # What is in a hole is smaller than it, what it is in larger.
    return len(around) == 1 and abs(around[0]) < max(map(abs, ends))


def _cut(walk: Sequence[_Point], bridges: Sequence[_Bridge]) -> list[np.ndarray]:
    there = {bridge.there for bridge in bridges}
    back = {bridge.back for bridge in bridges}
    parts: list[list[_Point]] = []
    open_parts: list[list[_Point]] = [[]]
    for number, point in enumerate(walk):
        if number in there:
            open_parts.append([])
        elif number in back:
            parts.append(open_parts.pop())
        else:
            open_parts[-1].append(point)
    whole = [np.array(part) for part in (*open_parts, *parts)]
    return whole if all(len(part) > 2 for part in whole) else []


def _drawn(rings: Sequence[np.ndarray], height: int, width: int) -> dict[str, Any]:
    rles = mask_util.frPyObjects([outlines.flat(ring) for ring in rings], height, width)
    whole: dict[str, Any] = mask_util.merge(rles)
    return whole


def signed_area(ring: np.ndarray) -> float:
    """Return a ring's area, above 0 where it goes clockwise on screen."""
    x, y = (ring - ring[0]).T
    return float(x @ np.roll(y, -1) - y @ np.roll(x, -1)) / 2
