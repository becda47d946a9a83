"""Many objects' polygons through transforms as one array of points."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import Any

import numpy as np

from cardamage.data.transforms import Transform

__all__ = ["transform_outlines"]

Outline = list[np.ndarray]


def transform_outlines(outlines: Sequence[Sequence[Any]], transforms: Transform) -> list[Outline]:
    """Apply transforms to the polygons of several objects.

    All points go together, except through transforms that treat polygons in a way of their own (a crop cuts
    them apart): those get the polygons of one object at a time.

    Args:
        outlines: of each object its polygons, x0, y0, x1, y1, ... in pixels; they are left as they are.
        transforms: a transform or a list of them.

    Returns:
        Of each object its transformed polygons, flat and floating.

    Raises:
        ValueError: If a polygon has an odd count of numbers, or what are none.
    """
    moved = [[np.array(polygon, dtype=np.float64).reshape(-1, 2) for polygon in one] for one in outlines]
    steps = getattr(transforms, "transforms", [transforms])
    for plain, group in groupby(steps, _moves_points_only):
        if plain:
            moved = _move_points(moved, group)
            continue
        for transform in group:
            moved = [transform.apply_polygons(one) for one in moved]
    return [[polygon.reshape(-1) for polygon in one] for one in moved]


def _moves_points_only(transform: Transform) -> bool:
    return type(transform).apply_polygons is Transform.apply_polygons


def _move_points(outlines: list[Outline], transforms: Iterable[Transform]) -> list[Outline]:
    polygons = [polygon for one in outlines for polygon in one]
    if not polygons:
        return outlines
    # A copy, always: transforms may work in place.
    points = np.concatenate(polygons)
    for transform in transforms:
        points = transform.apply_coords(points)
    moved, first = [], 0
    for one in outlines:
        pieces = []
        for polygon in one:
            pieces.append(points[first : first + len(polygon)])
            first += len(polygon)
        moved.append(pieces)
    return moved
