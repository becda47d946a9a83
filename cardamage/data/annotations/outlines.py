"""Plane geometry of annotated outlines: areas, crossings, clipping, and polygons for circles and lines.

A polygon is an array of shape (points, 2) in pixels, x before y; its last point does not repeat its first.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

__all__ = [
    "area",
    "as_points",
    "circle",
    "clip",
    "cross_themselves",
    "crosses_itself",
    "ellipse",
    "flat",
    "points_of",
    "rectangle",
    "stroke",
    "without_repeats",
]

# Pixels. Farther out, the arithmetic of areas and crossings would lose its digits.
_FARTHEST = 1e9


def points_of(numbers: Any) -> np.ndarray:
    """Turn ``x0, y0, x1, ...`` or ``[x, y]`` pairs into points.

    Returns:
        float64 of shape (points, 2).

    Raises:
        ValueError: for an odd count of numbers, or what are no finite numbers.
        TypeError: for what are no numbers at all.
    """
    try:
        points = np.asarray(numbers, dtype=np.float64).reshape(-1, 2)
    except OverflowError:  # JSON's whole numbers have no end
        raise ValueError("a coordinate is beyond any image") from None
    if not (np.abs(points) <= _FARTHEST).all():
        raise ValueError("a coordinate is not a finite number, or is beyond any image")
    return points


def as_points(numbers: Sequence[float] | Sequence[Sequence[float]]) -> np.ndarray:
    """Do as :func:`points_of`, and leave out repeats of one point in a row."""
    return without_repeats(points_of(numbers))


def without_repeats(points: np.ndarray) -> np.ndarray:
    """Return points (points, 2) of which none is the one before it; this also opens closed outlines."""
    if len(points) < 2:
        return points
    # Compared with the point after, the last with the first.
    changed = (points != np.roll(points, -1, axis=0)).any(axis=1)
    return points[changed] if changed.any() else points[:1]


def flat(points: np.ndarray) -> list[float]:
    """Return points as COCO writes them: ``[x0, y0, x1, y1, ...]``."""
    return [float(v) for v in points.reshape(-1)]


def area(points: np.ndarray) -> float:
    """Return the enclosed area in square pixels, by the shoelace formula; loops of an eight cancel."""
    if len(points) < 3:
        return 0.0
    # Around its own corner, so that large coordinates do not eat the digits.
    x, y = (points - points[0]).T
    return abs(float(x @ np.roll(y, -1) - y @ np.roll(x, -1))) / 2


def crosses_itself(points: np.ndarray) -> bool:
    """Tell whether two edges of a closed polygon cross at an inner point of both; touching does not count."""
    return len(points) >= 4 and bool(cross_themselves(points[None])[0])


def cross_themselves(polygons: np.ndarray) -> np.ndarray:
    """Do as :func:`crosses_itself` for several polygons of as many points each.

    Args:
        polygons: of shape (polygons, points, 2).

    Returns:
        bool of shape (polygons,).
    """
    edges = np.roll(polygons, -1, axis=1) - polygons
    # Sign of the side of edge i on which point j lies; an edge's end is the next one's start.
    to = polygons[:, None, :, :] - polygons[:, :, None, :]
    side = np.sign(edges[:, :, None, 0] * to[..., 1] - edges[:, :, None, 1] * to[..., 0])
    apart = side * np.roll(side, -1, axis=2) < 0
    crossing: np.ndarray = (apart & apart.transpose(0, 2, 1)).any(axis=(1, 2))
    return crossing


def clip(points: np.ndarray, width: float, height: float) -> np.ndarray:
    """Cut a polygon at the image's edges (Sutherland and Hodgman, 1974).

    Returns:
        The part inside, of shape (points, 2); without points where nothing is.
    """
    for axis, bound, sign in (
        (0, 0.0, 1.0),
        (0, float(width), -1.0),
        (1, 0.0, 1.0),
        (1, float(height), -1.0),
    ):
        points = _clip_half_plane(points, axis, bound, sign)
    return points


def _clip_half_plane(points: np.ndarray, axis: int, bound: float, sign: float) -> np.ndarray:
    if len(points) == 0:
        return points
    inside = sign * (points[:, axis] - bound) >= 0
    if inside.all():
        return points
    kept: list[np.ndarray] = []
    for i in range(len(points)):
        before, here = points[i - 1], points[i]
        if inside[i] != inside[i - 1]:
            share = (bound - before[axis]) / (here[axis] - before[axis])
            crossing = before + share * (here - before)
            crossing[axis] = bound
            kept.append(crossing)
        if inside[i]:
            kept.append(here)
    return np.array(kept).reshape(-1, 2)


def rectangle(corner: Sequence[float], opposite: Sequence[float]) -> np.ndarray:
    """Return the four corners of a box given by two opposite ones in any order."""
    (x0, x1), (y0, y1) = sorted((corner[0], opposite[0])), sorted((corner[1], opposite[1]))
    return np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1]], dtype=np.float64)


def circle(center: Sequence[float], radius: float) -> np.ndarray:
    """Return a polygon of the circle's area whose corners are within a quarter pixel of it."""
    return ellipse(center, radius, radius)


def ellipse(center: Sequence[float], radius_x: float, radius_y: float, turn: float = 0.0) -> np.ndarray:
    """Return a polygon of the ellipse's area.

    Args:
        center: x, y.
        radius_x: half its width before turning.
        radius_y: half its height before turning.
        turn: clockwise angle on screen, in radians.

    Raises:
        ValueError: for a radius that is no finite number.
    """
    if not max(abs(radius_x), abs(radius_y)) <= _FARTHEST:
        raise ValueError("a radius is not a finite number, or is beyond any image")
    largest = max(radius_x, radius_y, 0.25)
    # At most some 1000 corners: beyond that, the circle is larger than any photo.
    count = max(16, math.ceil(math.pi / max(math.acos(max(0.0, 1 - 0.25 / largest)), 3e-3)))
    angles = np.arange(count) * (2 * math.pi / count)
    # A polygon on the circle is smaller than the circle; this evens the area out.
    grow = math.sqrt((2 * math.pi / count) / math.sin(2 * math.pi / count))
    around = np.stack([radius_x * np.cos(angles), radius_y * np.sin(angles)], axis=1) * grow
    rotation = np.array([[math.cos(turn), math.sin(turn)], [-math.sin(turn), math.cos(turn)]])
    return around @ rotation + np.asarray(center, dtype=np.float64)


def stroke(points: np.ndarray, width: float) -> list[np.ndarray]:
    """Return a line of some width as one box along each of its pieces; the boxes overlap at the joints.

    Args:
        points: of the line, shape (points, 2).
        width: in pixels; the ends stand out by half of it.
    """
    boxes = []
    for start, end in zip(points[:-1], points[1:], strict=True):
        along = end - start
        length = float(np.hypot(*along))
        if length == 0:
            continue
        step = along / length * (width / 2)
        across = np.array([-step[1], step[0]])
        a, b = start - step, end + step
        boxes.append(np.array([a + across, b + across, b - across, a - across]))
    return boxes
