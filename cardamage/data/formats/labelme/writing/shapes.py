"""Objects turned into Labelme's shapes."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

import cv2
import numpy as np

from ....annotations.checks import RawAnnotation, checked_rle
from ....annotations.report import AnnotationReport
from ....annotations.run_lengths import run_lengths
from ...dataset import AnnotatedImage
from ...losses import tell_box
from ...tracing.drawn_shapes import Drawn, restored
from ...tracing.parts import usable_parts
from .fields import GroupIds, shape_fields

__all__ = ["shapes_of"]


def shapes_of(image: AnnotatedImage, losses: AnnotationReport) -> list[dict[str, Any]]:
    """Turn the objects of an image into shapes; the parts of one share a group.

    Outlines are polygons, or the type in ``extra["shape_type"]`` where that has this outline; run lengths are
    masks; boxes without outline rectangles.

    Args:
        image: the image.
        losses: is told of what Labelme can't hold.

    Raises:
        DataError: for a damaged mask.
    """
    groups = GroupIds([raw.extra.get("group_id") for raw in image.annotations])
    shapes: list[dict[str, Any]] = []
    for raw in image.annotations:
        losses.read += 1
        parts = _parts(raw, image, losses)
        group = (
            groups.take(raw.label, raw.extra.get("group_id"), len(parts), raw.place, losses)
            if parts
            else None
        )
        for geometry, extra in parts:
            fields = shape_fields(extra, raw.iscrowd, raw.place, losses)
            head = {"label": raw.label, "points": geometry["points"], "group_id": group}
            shapes.append({**head, **geometry, **fields})
    return shapes


def _parts(
    raw: RawAnnotation, image: AnnotatedImage, losses: AnnotationReport
) -> list[tuple[dict[str, Any], Mapping[str, Any]]]:
    """Points, type and mask of each shape of an object, and the fields that it has."""
    if raw.rle is not None:
        mask = _mask(raw, image, losses)
        return [] if mask is None else [(mask, raw.extra)]
    if raw.polygons is None:
        box = _box(raw, losses)
        return [] if box is None else [(box, raw.extra)]
    usable = usable_parts(raw, losses, fewest=1)
    if not usable:
        return []
    tell_box(raw, usable, losses)
    found: list[tuple[dict[str, Any], Mapping[str, Any]]] = []
    for polygons, extra in _divided(raw, usable):
        kind = extra.get("shape_type")
        drawn = restored(kind, polygons) if isinstance(kind, str) else None
        if drawn is None:
            found += [(_shape(Drawn("polygon", _begun_well(polygon))), extra) for polygon in polygons]
        else:
            width = {} if drawn.line_width is None else {"line_width": drawn.line_width}
            found.append((_shape(drawn), {**extra, **width}))
    return found


def _begun_well(points: np.ndarray) -> np.ndarray:
    """Begin an outline at a point that it doesn't come back to, as at a cut to a hole.

    Labelme 4 to 6 leave out each point that repeats the first one, and that would cut off a corner.
    """
    if not (points[1:-1] == points[0]).all(axis=1).any():
        return points
    ring = points[:-1] if (points[0] == points[-1]).all() else points
    _, places, counts = np.unique(ring, axis=0, return_index=True, return_counts=True)
    once = places[counts == 1]
    return np.roll(ring, -int(once.min()), axis=0) if len(once) else points


def _divided(
    raw: RawAnnotation, usable: list[np.ndarray]
) -> list[tuple[list[np.ndarray], Mapping[str, Any]]]:
    """The outline by the shapes that it came from, as far as that is known and still fits."""
    parts = raw.extra.get("parts")
    if not isinstance(parts, list) or not all(isinstance(part, dict) for part in parts):
        return [(usable, raw.extra)]
    counts = [part.get("polygons", 1) for part in parts]
    if not all(type(count) is int and count >= 0 for count in counts) or sum(counts) != len(usable):
        return [(usable, raw.extra)]
    ends = np.cumsum(counts).tolist()
    return [
        (usable[end - count : end], part)
        for end, count, part in zip(ends, counts, parts, strict=True)
        if count
    ]


def _box(raw: RawAnnotation, losses: AnnotationReport) -> dict[str, Any] | None:
    box = np.asarray([] if raw.bbox is None else raw.bbox, dtype=np.float64)
    if box.shape != (4,) or not np.isfinite(box).all():
        losses.add("lost", "it has neither outline nor box", raw.place)
        return None
    losses.add("changed", "it has no outline, so its box becomes one", raw.place)
    return _shape(Drawn("rectangle", box.reshape(2, 2)))


def _shape(drawn: Drawn) -> dict[str, Any]:
    return {"points": drawn.points.tolist(), "shape_type": drawn.kind, "mask": None}


def _mask(raw: RawAnnotation, image: AnnotatedImage, losses: AnnotationReport) -> dict[str, Any] | None:
    """The smallest patch with all of a mask; its first and last pixel are its points."""
    patch, left = _columns(checked_rle(raw, image.height, image.width)["counts"], image.height)
    rows = np.flatnonzero(patch.any(axis=1))
    if len(rows) == 0:
        losses.add("lost", "its mask is empty", raw.place)
        return None
    top, bottom = int(rows[0]), int(rows[-1])
    patch = patch[top : bottom + 1]
    png = cv2.imencode(".png", patch.astype(np.uint8))[1]
    corners = [[float(left), float(top)], [float(left + patch.shape[1] - 1), float(bottom)]]
    return {
        "points": corners,
        "shape_type": "mask",
        "mask": base64.b64encode(png.tobytes()).decode("ascii"),
    }


def _columns(counts: str | bytes, height: int) -> tuple[np.ndarray, int]:
    """The columns from the first with a pixel of a mask to the last, and the number of the first."""
    runs = run_lengths(counts)
    ends = np.cumsum(runs)
    set_runs = np.flatnonzero((np.arange(len(runs)) % 2 == 1) & (runs > 0))
    if len(set_runs) == 0:
        return np.zeros((height, 0), dtype=bool), 0
    first = int(ends[set_runs[0]] - runs[set_runs[0]]) // height
    last = (int(ends[set_runs[-1]]) - 1) // height
    inside = np.clip(ends, first * height, (last + 1) * height)
    lengths = np.diff(inside, prepend=first * height)
    flat = np.repeat(np.arange(len(runs)) % 2 == 1, lengths)
    return flat.reshape(last - first + 1, height).T, first
