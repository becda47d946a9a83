"""Masks as few clean polygons that a person can correct.

The rules, for the mask of one object:

- parts are pieces that hang together along pixel edges; the largest stays, and so does any other that has
  both more pixels than a speck and more than a twentieth of the largest's;
- where two pixels of a part meet at a corner only, one beside them is added: no outline touches itself;
- a hole of no more pixels than a speck, or of no more than a twentieth of its part's, is filled; a larger one
  stays, its outline joined to the part's by a bridge of no width, so that one polygon holds both;
- an outline loses corners (Douglas and Peucker, 1973) as long as it stays within the tolerance of the mask's
  own. Where it would cross itself then, or fit a thin part badly (IoU below 0.9), the tolerance is halved.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import cv2
import numpy as np
import pycocotools.mask as mask_util

from cardamage.data.annotations import outlines
from cardamage.data.formats.tracing.mask_outlines import mask_outlines, simplify

__all__ = ["Fit", "Traced", "trace"]

# The share of an object's largest part that another part, or of a part that a hole, must have to stay.
_SHARE = 0.05
# An outline that is cut down to less than that is no longer the part's.
_LEAST_IOU = 0.9
_MOST_HALVINGS = 5
# Crossings are looked for up to this many points: the work grows with the square.
_MOST_POINTS = 2000


@dataclass(frozen=True)
class Fit:
    """How near polygons are to the mask they were traced from.

    Attributes:
        iou: of the polygons, drawn as COCO does, with the model's mask, specks and all.
        distance: in pixels, between the polygons' outline and that of the parts kept: no point of one is
            farther from the other.
    """

    iou: float
    distance: float


@dataclass(frozen=True)
class Traced:
    """An object's outlines, float64 (points, 2) in pixels, largest first, and how near they are."""

    polygons: list[np.ndarray]
    fit: Fit


def trace(rle: Mapping[str, Any], tolerance: float = 1.0, speck: int = 16) -> Traced:
    """Trace the mask of one object.

    Args:
        rle: COCO run lengths, compressed.
        tolerance: by how many pixels an outline may leave the mask's own.
        speck: smaller parts and holes go, in pixels.

    Returns:
        No polygons for a mask without pixels.
    """
    height, width = (int(v) for v in rle["size"])
    if mask_util.area(dict(rle)) == 0:
        return Traced([], Fit(1.0, 0.0))
    x, y, w, h = (int(v) for v in mask_util.toBbox(dict(rle)))
    mask = mask_util.decode(dict(rle))[y : y + h, x : x + w]
    polygons, farthest = [], 0.0
    for part in _parts(mask, speck):
        for ring in mask_outlines(part):
            points, distance = _clean(ring, part, tolerance)
            polygons.append(points + (x, y))
            farthest = max(farthest, distance)
    drawn = mask_util.merge(mask_util.frPyObjects([outlines.flat(p) for p in polygons], height, width))
    iou = float(mask_util.iou([drawn], [dict(rle)], [0])[0, 0])
    return Traced(polygons, Fit(iou, farthest))


def _parts(mask: np.ndarray, speck: int) -> Iterator[np.ndarray]:
    """The parts that stay, largest first, each as a mask of its own with the small holes filled."""
    count, labels, stats, _ = cv2.connectedComponentsWithStats(mask, connectivity=4)
    areas = stats[:, cv2.CC_STAT_AREA]
    order = sorted(range(1, count), key=lambda index: -areas[index])
    for index in order:
        if index == order[0] or areas[index] > max(speck, _SHARE * areas[order[0]]):
            yield _filled(_unpinched((labels == index).astype(np.uint8)), speck)


def _unpinched(part: np.ndarray) -> np.ndarray:
    """Fill pixels until no two of a part meet at a corner only, where its outline would touch itself."""
    while True:
        nw, ne, sw, se = part[:-1, :-1], part[:-1, 1:], part[1:, :-1], part[1:, 1:]
        touch = (nw == se) & (ne == sw) & (nw != ne)
        if not touch.any():
            return part
        part = part.copy()
        y, x = np.nonzero(touch)
        # The one of the two upper pixels that isn't the part's yet.
        part[y, x + nw[y, x]] = 1


def _filled(part: np.ndarray, speck: int) -> np.ndarray:
    padded = cv2.copyMakeBorder(1 - part, 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=1)
    _, labels, stats, _ = cv2.connectedComponentsWithStats(padded, connectivity=8)
    areas = stats[:, cv2.CC_STAT_AREA]
    small = areas <= max(speck, _SHARE * float(part.sum()))
    # 0 is the part, and the component of the corner what lies around it.
    small[[0, labels[0, 0]]] = False
    return part | small[labels[1:-1, 1:-1]].astype(np.uint8)


def _clean(ring: np.ndarray, part: np.ndarray, tolerance: float) -> tuple[np.ndarray, float]:
    """Simplify a part's outline as far as it stays a good one; returns its points and their distance."""
    mask = mask_util.encode(np.asfortranarray(part))
    for halving in range(_MOST_HALVINGS + 1):
        points = simplify([ring], tolerance / 2**halving)[0]
        if _is_good(points, mask):
            return points, _distance(ring, points)
    return ring, 0.0


def _is_good(points: np.ndarray, mask: dict[str, Any]) -> bool:
    if len(points) <= _MOST_POINTS and outlines.crosses_itself(points):
        return False
    drawn = mask_util.frPyObjects([outlines.flat(points)], *mask["size"])
    return float(mask_util.iou(drawn, [mask], [0])[0, 0]) >= _LEAST_IOU


def _distance(ring: np.ndarray, points: np.ndarray) -> float:
    """How far the corners left out are from the lines that replace them.

    No point of one outline is farther from the other than that: between two corners a ring is straight, and
    what it passes through, seen from the line that replaces it, covers all of that line.

    Args:
        ring: an outline.
        points: those of its points that were kept, in the ring's order.
    """
    # Twice around, as the points may begin anywhere in the ring; and on to the first of them again.
    around = np.concatenate([ring, ring, ring[:1]])
    wanted = [*points.tolist(), points[0].tolist()]
    kept: list[int] = []
    for number, point in enumerate(around.tolist()):
        if len(kept) < len(wanted) and point == wanted[len(kept)]:
            kept.append(number)
    return max(_from_line(around[first : last + 1]) for first, last in pairwise(kept))


def _from_line(piece: np.ndarray) -> float:
    """The largest distance of points from the line between the first and the last of them."""
    along = piece[-1] - piece[0]
    length = float(along @ along)
    to = piece - piece[0]
    share = np.clip(to @ along / length, 0, 1) if length > 0 else np.zeros(len(piece))
    return float(np.hypot(*(to - share[:, None] * along).T).max())
