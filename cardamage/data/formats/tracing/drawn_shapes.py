"""Outlines turned back into the shapes that they were drawn as: rectangles, circles, lines."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from ...annotations import outlines

__all__ = ["Drawn", "restored"]

# Pixels. Files that round to hundredths give the same shape.
_SAME = 0.02


class Drawn:
    """A shape's type and points.

    Args:
        kind: Labelme's ``shape_type``.
        points: of shape (points, 2).
        line_width: of lines and line strips, in pixels.
    """

    def __init__(self, kind: str, points: np.ndarray, line_width: float | None = None) -> None:
        self.kind = kind
        self.points = points
        self.line_width = line_width


def restored(kind: str, polygons: Sequence[np.ndarray]) -> Drawn | None:
    """Return the shape of a type that has this outline, or None where none has, as after an edit or a cut.

    Args:
        kind: Labelme's ``shape_type``.
        polygons: point arrays, open or closed.
    """
    if kind in ("line", "linestrip"):
        return _line(kind, polygons)
    if len(polygons) != 1:
        return None
    points = _open(polygons[0])
    if kind == "rectangle":
        return _rectangle(points)
    if kind == "oriented_rectangle":
        return Drawn(kind, points) if len(points) == 4 else None
    return _circle(points) if kind == "circle" else None


def _open(points: np.ndarray) -> np.ndarray:
    return points[:-1] if len(points) > 1 and (points[0] == points[-1]).all() else points


def _rectangle(points: np.ndarray) -> Drawn | None:
    if len(points) != 4:
        return None
    corners = np.stack([points.min(axis=0), points.max(axis=0)])
    # Corners may begin anywhere and go round either way; sides are level and upright.
    steps = np.abs(np.diff(points, axis=0, append=points[:1])) > 1e-9
    turns = (steps.sum(axis=1) == 1).all() and (steps[:-1] != steps[1:]).all()
    return Drawn("rectangle", corners) if turns else None


def _circle(points: np.ndarray) -> Drawn | None:
    if len(points) < 8:
        return None
    center, radius = points.mean(axis=0), math.sqrt(outlines.area(points) / math.pi)
    again = outlines.circle(center, radius)
    if again.shape != points.shape or not np.allclose(again, points, rtol=0, atol=_SAME):
        return None
    return Drawn("circle", np.stack([center, center + (radius, 0.0)]))


def _line(kind: str, polygons: Sequence[np.ndarray]) -> Drawn | None:
    """The line along the middle of the boxes that :func:`outlines.stroke` makes, one of each piece."""
    boxes = [_open(polygon) for polygon in polygons]
    if not boxes or any(len(box) != 4 for box in boxes) or (kind == "line" and len(boxes) > 1):
        return None
    width = float(np.hypot(*(boxes[0][0] - boxes[0][3])))
    points: list[np.ndarray] = []
    for box in boxes:
        first, last = (box[0] + box[3]) / 2, (box[1] + box[2]) / 2
        length = float(np.hypot(*(last - first)))
        if length <= width:
            return None
        step = (last - first) / length * (width / 2)
        points += [first + step, last - step] if not points else [last - step]
    line = np.array(points)
    again = outlines.stroke(line, width)
    same = len(again) == len(boxes) and all(
        np.allclose(one, other, rtol=0, atol=_SAME) for one, other in zip(again, boxes, strict=True)
    )
    return Drawn(kind, line, round(width, 4)) if same else None
