"""VIA's region shapes as outlines, and outlines as VIA's shapes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ...annotations import outlines
from ..tracing.drawn_shapes import restored

__all__ = [
    "drawn_shape",
    "native_shape",
    "polygon_shape",
    "rectangle_shape",
    "remembered_shape",
    "shape_outline",
    "told_by",
]

# Kinds that are no list of points and so have to be remembered; lines where they have the usual width.
_NATIVE = ("rect", "circle", "ellipse", "polyline")
_KINDS = {"rect": "rectangle", "circle": "circle", "ellipse": "ellipse", "polyline": "linestrip"}
_WIDTH = 5.0
_FARTHEST = 1e9
_DECIMALS = 6


def shape_outline(shape: dict[str, Any], line_width: float) -> tuple[list[Any] | None, str]:
    """Turn ``shape_attributes`` into polygons.

    Args:
        shape: as stored; polygon, polyline, rect, circle and ellipse have an outline.
        line_width: of polylines, in pixels.

    Returns:
        Point arrays, and why there are none where they are None.
    """
    kind = shape.get("name")
    if kind not in ("polygon", *_NATIVE):
        return None, f"its shape {kind!r} has no area"
    try:
        polygons = _polygons_of(shape, line_width)
    except (KeyError, TypeError, ValueError, OverflowError):
        return None, f"its shape {kind!r} lacks the numbers that it needs"
    return (polygons, "") if polygons else (None, f"its shape {kind!r} has no length")


def _polygons_of(shape: dict[str, Any], line_width: float) -> list[np.ndarray]:
    """Do as :func:`shape_outline`, but raise KeyError, TypeError or ValueError for what has no outline."""
    kind = shape["name"]
    if kind in ("polygon", "polyline"):
        columns = [np.asarray(shape[key], dtype=np.float64) for key in ("all_points_x", "all_points_y")]
        if columns[0].ndim != 1 or columns[0].shape != columns[1].shape:
            raise ValueError("x and y are not two lists of the same length")
        points = np.stack(columns, axis=1)
        if kind == "polygon" or not (np.abs(points) <= _FARTHEST).all():
            return [points]
        return list(outlines.stroke(points, line_width))
    if kind == "rect":
        x, y, width, height = (float(shape[key]) for key in ("x", "y", "width", "height"))
        return [outlines.rectangle((x, y), (x + width, y + height))]
    center = (float(shape["cx"]), float(shape["cy"]))
    if kind == "circle":
        return [outlines.circle(center, float(shape["r"]))]
    if kind == "ellipse":
        turn = float(shape.get("theta") or 0)
        if not abs(turn) <= _FARTHEST:
            raise ValueError("an angle that is not a finite number")
        return [outlines.ellipse(center, float(shape["rx"]), float(shape["ry"]), turn)]
    raise ValueError("no shape with an outline")


def native_shape(shape: dict[str, Any], line_width: float) -> dict[str, Any] | None:
    """Return the shape where its polygons alone would not tell what it was; None for a polygon."""
    if shape.get("name") not in _NATIVE or (shape["name"] == "polyline" and line_width != _WIDTH):
        return None
    return dict(shape)


def remembered_shape(shape: Any, polygons: Sequence[Any]) -> dict[str, Any] | None:
    """Return the shape that an outline was read from, where the outline is still the same.

    Args:
        shape: what :func:`native_shape` gave; may be anything.
        polygons: the outline now.
    """
    if not isinstance(shape, dict) or shape.get("name") not in _NATIVE:
        return None
    try:
        before = _polygons_of(shape, _WIDTH)
        now = [np.asarray(polygon, dtype=np.float64).reshape(-1, 2) for polygon in polygons]
    except (KeyError, TypeError, ValueError, OverflowError):
        return None
    same = len(before) == len(now) and all(
        one.shape == other.shape and np.allclose(one, other, rtol=0, atol=1e-6)
        for one, other in zip(before, now, strict=True)
    )
    return shape if same else None


def told_by(shapes: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the fields of an object in memory that its region's shape tells; none of several regions."""
    kind = _KINDS.get(shapes[0]["name"]) if len(shapes) == 1 else None
    if kind is None:
        return {}
    return {"shape_type": kind, "line_width": _WIDTH} if kind == "linestrip" else {"shape_type": kind}


def drawn_shape(kind: Any, polygons: Sequence[Any]) -> dict[str, Any] | None:
    """Return the shape that an outline was drawn as elsewhere, where VIA has it and it is still the same.

    Args:
        kind: a rectangle, circle or line strip by its name in memory; may be anything.
        polygons: the outline.
    """
    if kind not in ("rectangle", "circle", "linestrip"):
        return None
    try:
        drawn = restored(kind, [np.asarray(polygon, dtype=np.float64).reshape(-1, 2) for polygon in polygons])
    except (TypeError, ValueError, OverflowError):
        return None
    if drawn is None or (drawn.line_width is not None and abs(drawn.line_width - _WIDTH) > 1e-6):
        return None
    points = drawn.points.round(_DECIMALS)
    if kind == "rectangle":
        return rectangle_shape(points.reshape(-1).tolist())
    if kind == "linestrip":
        return {**polygon_shape(points), "name": "polyline"}
    (x, y), (edge, _) = points
    x, y, radius = _plain(np.array([x, y, round(edge - x, _DECIMALS)]))
    return {"name": "circle", "cx": x, "cy": y, "r": radius}


def polygon_shape(points: np.ndarray) -> dict[str, Any]:
    """Return a polygon's ``shape_attributes``; points of shape (points, 2)."""
    return {"name": "polygon", "all_points_x": _plain(points[:, 0]), "all_points_y": _plain(points[:, 1])}


def rectangle_shape(corners: Sequence[float]) -> dict[str, Any]:
    """Return the ``shape_attributes`` of a box x0, y0, x1, y1."""
    x0, y0, x1, y1 = (float(v) for v in corners)
    x, y, width, height = _plain(np.array([x0, y0, round(x1 - x0, 9), round(y1 - y0, 9)]))
    return {"name": "rect", "x": x, "y": y, "width": width, "height": height}


def _plain(numbers: np.ndarray) -> list[Any]:
    whole = numbers.astype(np.int64)
    found: list[Any] = (whole if (whole == numbers).all() else numbers).tolist()
    return found
