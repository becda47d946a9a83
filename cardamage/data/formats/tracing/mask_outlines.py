"""Masks as outlines that draw the very same mask again.

COCO's rasterizer (pycocotools) works on a grid of fifths of a pixel and fills by the even-odd rule: every
piece of an outline that passes the middle of a column of pixels flips what lies below it. So

- an outline along the edges of pixels, with whole numbers as coordinates, draws exactly those pixels;
- a bridge, walked there and back between the same two points, flips everything twice: it has no width.

Holes are therefore cut open with a bridge to the outline around them; :mod:`.bridges` joins parts the same
way.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pycocotools.mask as mask_util

from .bridges import signed_area

__all__ = ["mask_outlines", "simplify"]


def mask_outlines(mask: np.ndarray | Mapping[str, Any]) -> list[np.ndarray]:
    """Trace a mask along the edges of its pixels.

    Args:
        mask: (height, width), anything but 0 belongs to it; or COCO's run-length mask, compressed or not.

    Returns:
        One ring for each region of pixels that share edges, from top to bottom: float64 of shape (points, 2),
        x before y, clockwise on screen, corners only. Holes are part of their region's ring, by a bridge of
        no width straight up from their highest edge. Drawn by pycocotools, together they are the mask.
    """
    pixels, left, top = _cropped(mask)
    if pixels.size == 0:
        return []
    padded = np.zeros((pixels.shape[0] + 2, pixels.shape[1] + 2), dtype=bool)
    padded[1:-1, 1:-1] = pixels
    points, follower, partner = _corners(padded)
    rings = _cycles(follower)
    starts = np.array([ring[0] for ring in rings])
    # The first corner of a ring is its highest and leftmost; below it is the region, or the hole.
    x, y = points[starts].T
    holes = starts[~padded[y + 1, x + 1]]
    if len(holes):
        points, follower = _bridged(padded, points, follower, partner, holes)
        rings = _cycles(follower)
    shift = np.array([left, top], dtype=np.float64)
    return [_without_repeats(points[ring]) + shift for ring in rings]


def _without_repeats(points: np.ndarray) -> np.ndarray:
    # A bridge may end at a corner.
    return points[(points != np.roll(points, 1, axis=0)).any(axis=1)]


def _cropped(mask: np.ndarray | Mapping[str, Any]) -> tuple[np.ndarray, int, int]:
    """The part of the mask that isn't empty, and where its corner is."""
    if isinstance(mask, Mapping):
        size, counts = mask["size"], mask["counts"]
        rle = mask_util.frPyObjects(dict(mask), *size) if isinstance(counts, list) else dict(mask)
        x, y, w, h = (int(v) for v in mask_util.toBbox(rle))
        return mask_util.decode(rle)[y : y + h, x : x + w] != 0, x, y
    pixels = np.asarray(mask) != 0
    rows, columns = np.flatnonzero(pixels.any(axis=1)), np.flatnonzero(pixels.any(axis=0))
    if len(rows) == 0:
        return pixels[:0], 0, 0
    return pixels[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1], int(columns[0]), int(rows[0])


def _corners(padded: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Find the corners and which one follows which, with the region on the right hand.

    Returns:
        Points (N, 2) in rows from left to right; the index of each one's follower; the index of the other
        end of each one's horizontal edge. Where pixels touch at a corner only, two points are in one place.
    """
    nw, ne, sw, se = padded[:-1, :-1], padded[:-1, 1:], padded[1:, :-1], padded[1:, 1:]
    turns = nw ^ ne ^ sw ^ se
    touches = (nw == se) & (ne == sw) & (nw != ne)
    y, x = np.nonzero(turns | touches)
    twice = touches[y, x]
    repeats = np.where(twice, 2, 1)
    y, x = np.repeat(y, repeats), np.repeat(x, repeats)
    second = np.zeros(len(y), dtype=bool)
    second[1:] = (y[1:] == y[:-1]) & (x[1:] == x[:-1])
    # Of two points in one place the first ends the edge from the left. It ends the edge from above too where
    # the pixels are north-west and south-east; else the second one does. So the pixels stay apart.
    below_first = np.where(np.repeat(twice, repeats) & ~nw[y, x], ~second, second)
    down = np.lexsort((below_first, y, x))
    count = len(y)
    follower = np.empty(count, dtype=np.int64)
    partner = np.empty(count, dtype=np.int64)
    a, b = np.arange(0, count, 2), np.arange(1, count, 2)
    partner[a], partner[b] = b, a
    _link(follower, a, b, se[y[a], x[a]])
    a, b = down[0::2], down[1::2]
    _link(follower, a, b, sw[y[a], x[a]])
    return np.stack([x, y], axis=1), follower, partner


def _link(follower: np.ndarray, a: np.ndarray, b: np.ndarray, forward: np.ndarray) -> None:
    follower[a[forward]] = b[forward]
    follower[b[~forward]] = a[~forward]


def _cycles(follower: np.ndarray) -> list[list[int]]:
    following = follower.tolist()
    seen = bytearray(len(following))
    rings = []
    for start in range(len(following)):
        if seen[start]:
            continue
        ring, at = [], start
        while not seen[at]:
            seen[at] = 1
            ring.append(at)
            at = following[at]
        rings.append(ring)
    return rings


def _bridged(
    padded: np.ndarray, points: np.ndarray, follower: np.ndarray, partner: np.ndarray, holes: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Join each hole to the edge straight above it, of the region or of another hole.

    Returns:
        Points and followers, each hole having three more: its first corner again, and the bridge's far end
        once for the way there and once for the way back.
    """
    x, y = points[holes].T
    above = [int(padded[row::-1, column].argmin()) for row, column in zip(y, x + 1, strict=True)]
    end = y - np.array(above)
    lefts, breadth = points[0::2], padded.shape[1]
    edge = np.searchsorted(lefts[:, 1] * breadth + lefts[:, 0], end * breadth + x, side="right") - 1
    count = len(points)
    more = np.stack([points[holes], *[np.stack([x, end], axis=1)] * 2], axis=1).reshape(-1, 2)
    linked = np.concatenate([follower, np.empty(len(more), dtype=np.int64)])
    # From right to left: each is put right behind the edge's left end, before those put there already.
    for n in np.lexsort((-x, edge)).tolist():
        hole, left = holes[n], 2 * edge[n]
        again, there, back = count + 3 * n, count + 3 * n + 1, count + 3 * n + 2
        linked[back] = linked[left]
        linked[left], linked[there] = there, hole
        linked[partner[hole]], linked[again] = again, back
    return np.concatenate([points, more]), linked


def simplify(rings: Sequence[np.ndarray], tolerance: float) -> list[np.ndarray]:
    """Leave out points of outlines (Douglas and Peucker, 1973).

    Points that a ring passes more than once stay, so bridges keep having no width.

    Args:
        rings: (points, 2) each.
        tolerance: no point that is left out is farther than this from its outline, in pixels.

    Returns:
        A ring for each; one that would lose all its area stays as it is.
    """
    return [_simplified(ring, tolerance) for ring in rings] if tolerance > 0 else list(rings)


def _simplified(ring: np.ndarray, tolerance: float) -> np.ndarray:
    if len(ring) < 4:
        return ring
    _, place, times = np.unique(ring, axis=0, return_inverse=True, return_counts=True)
    keep = times[place.reshape(-1)] > 1
    if not keep.any():
        keep[[0, int(np.square(ring - ring[0]).sum(axis=1).argmax())]] = True
    first = int(keep.argmax())
    ring, keep = np.roll(ring, -first, axis=0), np.roll(keep, -first)
    closed = np.concatenate([ring, ring[:1]])
    fixed = [*np.flatnonzero(keep).tolist(), len(ring)]
    todo = list(zip(fixed[:-1], fixed[1:], strict=True))
    while todo:
        i, j = todo.pop()
        if j - i < 2:
            continue
        distance = _distances(closed[i + 1 : j], closed[i], closed[j])
        far = int(distance.argmax())
        if distance[far] > tolerance:
            middle = i + 1 + far
            keep[middle] = True
            todo += [(i, middle), (middle, j)]
    result = ring[keep]
    return result if len(result) > 2 and signed_area(result) != 0 else ring


def _distances(points: np.ndarray, start: np.ndarray, end: np.ndarray) -> np.ndarray:
    """How far points are from a piece of a line."""
    along = end - start
    length = float(along @ along)
    to = points - start
    share = np.clip(to @ along / length, 0, 1) if length > 0 else np.zeros(len(points))
    return np.hypot(*(to - share[:, None] * along).T)
