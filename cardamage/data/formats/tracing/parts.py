"""The parts of an outline that can be written; what can't be is told."""

from __future__ import annotations

import numpy as np

from ...annotations import outlines
from ...annotations.checks import RawAnnotation
from ...annotations.report import AnnotationReport

__all__ = ["parts_inside", "usable_parts"]


def usable_parts(raw: RawAnnotation, losses: AnnotationReport, fewest: int = 3) -> list[np.ndarray]:
    """Return the parts of an outline as they are, each (points, 2).

    Args:
        raw: an annotation with polygons.
        losses: is told of parts that are none.
        fewest: points that a part must have.
    """
    parts = []
    for polygon in raw.polygons or []:
        try:
            points = outlines.points_of(polygon)
        except (TypeError, ValueError):
            losses.add("lost", "a part of its outline is not a list of x, y numbers", raw.place)
            continue
        if len(points) >= fewest:
            parts.append(points)
        else:
            lacking = f"has fewer than {fewest} points" if fewest > 1 else "has no points"
            losses.add("lost", f"a part of its outline {lacking}", raw.place)
    if not raw.polygons:
        losses.add("lost", "its outline has no points", raw.place)
    return parts


def parts_inside(raw: RawAnnotation, height: int, width: int, losses: AnnotationReport) -> list[np.ndarray]:
    """Return the parts of an outline, cut at the image's edges, each (points, 2) of 3 points or more.

    Args:
        raw: an annotation with polygons.
        height: of the image.
        width: of the image.
        losses: is told of parts that are cut or can't be used.
    """
    parts = []
    for points in map(outlines.without_repeats, usable_parts(raw, losses, fewest=0)):
        inside = points
        if len(points) > 2 and (points.min() < 0 or (points > (width, height)).any()):
            inside = outlines.clip(points, width, height)
            losses.add("changed", "it reaches past the edge of the image and is cut there", raw.place)
        if len(inside) < 3:
            losses.add("lost", "a part of its outline has fewer than 3 points in the image", raw.place)
        else:
            parts.append(inside)
    return parts
