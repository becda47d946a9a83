"""What an annotation must be to be trained on, and a look at every image file before the first step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NoReturn

import numpy as np
import pycocotools.mask as mask_util

from ...errors import DataError
from ...structures import BoxMode
from . import outlines
from .report import AnnotationReport
from .run_lengths import run_lengths

__all__ = ["RawAnnotation", "check_annotation", "checked_rle", "clipped_box"]

# Reaching past the edge by no more than this is rounding, and not worth a word.
_EDGE_SLACK = 1.0
# Outlines below this area may cover no pixel at all, so they are drawn to see.
_SURE_AREA = 4.0
_PART = "a part of its outline is left out"
# Crossings are looked for up to this many points: the work grows with the square.
_MOST_POINTS = 2000


@dataclass
class RawAnnotation:
    """One object as a file gives it, before any check.

    Attributes:
        place: file and shape or annotation, for messages.
        polygons: flat ``x0, y0, x1, ...`` or point pairs each, in pixels; None where there is no outline.
        rle: COCO run-length mask of the image's size, compressed or not, in place of polygons.
        bbox: x0, y0, x1, y1 in pixels; None to take it from the outline.
        iscrowd: 1 for a region of uncounted objects.
        extra: further fields that the format has for it, by their own names.
        label: the class's name, where it is known.
    """

    place: str
    polygons: Sequence[Any] | None = None
    rle: dict[str, Any] | None = None
    bbox: Sequence[float] | None = None
    iscrowd: int = 0
    extra: dict[str, Any] = field(default_factory=dict)
    label: str = ""


def check_annotation(
    raw: RawAnnotation, height: int, width: int, report: AnnotationReport
) -> dict[str, Any] | None:
    """Turn a raw annotation into one of a dataset dict, or drop it.

    Polygons of fewer than 3 points and those without area or outside the image are dropped; those past the
    edge are clipped; those that cross themselves are kept. All of that goes to the report.

    Args:
        raw: the annotation.
        height: of the image.
        width: of the image.
        report: is told what was found.

    Returns:
        ``bbox`` (XYXY_ABS), ``bbox_mode``, ``iscrowd``, ``segmentation`` (polygons or compressed RLE; absent
        for a box without outline); None where the annotation is dropped.

    Raises:
        DataError: for a run-length mask of another size than the image's.
    """
    report.read += 1
    head = {"bbox_mode": BoxMode.XYXY_ABS, "iscrowd": raw.iscrowd}
    if raw.rle is not None:
        rle = checked_rle(raw, height, width)
        if mask_util.area(rle) == 0:
            report.add("dropped", "its outline has no area", raw.place)
            return None
        x, y, w, h = (float(v) for v in mask_util.toBbox(rle))
        box = clipped_box(raw.bbox, height, width) or [x, y, x + w, y + h]
        return {"bbox": box, "segmentation": rle, **head}
    if raw.polygons is None:
        given = _boxed(raw, height, width, report)
        return None if given is None else {"bbox": given, **head}
    polygons = _checked_polygons(raw, height, width, report)
    if not polygons:
        return None
    corners = np.concatenate(polygons)
    around = [*corners.min(axis=0).tolist(), *corners.max(axis=0).tolist()]
    box = clipped_box(raw.bbox, height, width) or around
    return {"bbox": box, "segmentation": [outlines.flat(p) for p in polygons], **head}


def _checked_polygons(
    raw: RawAnnotation, height: int, width: int, report: AnnotationReport
) -> list[np.ndarray]:
    """The usable parts of an outline; the annotation is reported as dropped only if none is left."""
    kept: list[np.ndarray] = []
    refused: list[tuple[str, str | None]] = []
    notes: list[tuple[str, str, str | None]] = []
    for numbers in raw.polygons or []:
        try:
            points = outlines.as_points(numbers)
        except (ValueError, TypeError):
            refused.append(("its outline is not a list of x, y numbers", None))
            continue
        if len(points) < 3:
            refused.append(_few_points(len(points)))
            continue
        crossing = len(points) <= _MOST_POINTS and outlines.crosses_itself(points)
        inside, excess = _clipped(points, height, width)
        if not crossing and not _covers(points):
            refused.append(("its outline has no area", None))
        elif len(inside) < 3 or (not crossing and outlines.area(inside) <= 0):
            outside = "it lies outside the image"
            refused.append((outside, f"{outside} of {width}x{height}"))
        elif not _draws(inside, height, width):
            refused.append(("its outline has no area", None))
        else:
            kept.append(inside)
            if crossing:
                notes.append(("kept", "its outline crosses itself", None))
            if excess > _EDGE_SLACK:
                notes.append(("clipped", "it reaches past the edge of the image", _past_edge(excess)))
    if not kept:
        reason, detail = refused[-1] if refused else ("its outline has no points", None)
        report.add("dropped", reason, raw.place, detail)
        return []
    for reason, detail in dict.fromkeys(refused):
        notes.append(("changed", _PART, f"{_PART}: {detail or reason}"))
    for verdict, reason, detail in dict.fromkeys(notes):
        report.add(verdict, reason, raw.place, detail)
    return kept


def _few_points(count: int) -> tuple[str, str]:
    points = "1 point" if count == 1 else f"{count} points"
    return "its polygon has fewer than 3 points", f"its polygon has {points} and needs 3"


def _past_edge(excess: float) -> str:
    return f"it reaches past the edge of the image by {excess:.0f} px"


def _covers(points: np.ndarray) -> bool:
    # Relative to its extent, so that a line of points in floating numbers counts as a line.
    extent = float(np.prod(np.ptp(points, axis=0)))
    return outlines.area(points) > 1e-9 * max(extent, 1.0)


def _draws(points: np.ndarray, height: int, width: int) -> bool:
    """Whether COCO would color any pixel."""
    if outlines.area(points) >= _SURE_AREA:
        return True
    return mask_util.area(mask_util.frPyObjects([outlines.flat(points)], height, width))[0] > 0


def _clipped(points: np.ndarray, height: int, width: int) -> tuple[np.ndarray, float]:
    """The part inside the image, and by how many pixels the polygon reaches past the edge."""
    low, high = points.min(axis=0), points.max(axis=0)
    excess = float(max(-low.min(), (high - (width, height)).max(), 0.0))
    return (outlines.clip(points, width, height) if excess > 0 else points), excess


def checked_rle(raw: RawAnnotation, height: int, width: int) -> dict[str, Any]:
    """Return an annotation's run-length mask, compressed, with counts as text or bytes.

    Args:
        raw: an annotation that has one, compressed or not.
        height: of the image.
        width: of the image.

    Raises:
        DataError: for a mask of another size than the image's, or one that is damaged.
    """
    rle = raw.rle or {}
    size, counts = rle.get("size"), rle.get("counts")
    if not isinstance(size, (list, tuple)) or len(size) != 2 or not isinstance(counts, (list, str, bytes)):
        raise DataError(f"{raw.place}: its mask has no size and counts; export the masks again.")
    if list(size) != [height, width]:
        raise DataError(
            f"{raw.place}: its mask is {size[1]}x{size[0]} and the image {width}x{height} (width x height); "
            "export the masks at the image's own size."
        )
    if isinstance(counts, list):
        _check_runs(raw.place, counts, height * width)
        return mask_util.frPyObjects({"size": [height, width], "counts": counts}, height, width)
    _check_text(raw.place, counts, height * width)
    return {"size": [height, width], "counts": counts}


def _check_runs(place: str, counts: list[Any], pixels: int) -> None:
    whole = all(isinstance(run, int) and not isinstance(run, bool) and run >= 0 for run in counts)
    if not whole or sum(counts) != pixels:
        _refuse_runs(place, sum(counts) if whole else None, pixels)


def _check_text(place: str, counts: str | bytes, pixels: int) -> None:
    # pycocotools reads and writes past the end of its memory for texts that are damaged.
    try:
        runs = run_lengths(counts)
    except ValueError:
        _refuse_runs(place, None, pixels)
    if len(runs) == 0 or runs.min() < 0 or runs.max() > pixels:
        _refuse_runs(place, None, pixels)
    if runs.sum() != pixels:
        _refuse_runs(place, int(runs.sum()), pixels)


def _refuse_runs(place: str, covered: int | None, pixels: int) -> NoReturn:
    said = "an unknown number of" if covered is None else covered
    raise DataError(
        f"{place}: the runs of its mask cover {said} pixels, but the image has {pixels}; "
        "export the masks again."
    )


def clipped_box(box: Sequence[float] | None, height: int, width: int) -> list[float] | None:
    """Return a given box within the image, or None where there is none that can be used.

    Args:
        box: x0, y0, x1, y1, or None.
        height: of the image.
        width: of the image.
    """
    if box is None or len(box) != 4 or not np.isfinite(np.asarray(box, dtype=np.float64)).all():
        return None
    x0, y0, x1, y1 = (float(v) for v in box)
    x0, x1 = max(x0, 0.0), min(x1, float(width))
    y0, y1 = max(y0, 0.0), min(y1, float(height))
    return [x0, y0, x1, y1] if x1 > x0 and y1 > y0 else None


def _boxed(raw: RawAnnotation, height: int, width: int, report: AnnotationReport) -> list[float] | None:
    """The box of an annotation without outline."""
    box = clipped_box(raw.bbox, height, width)
    if box is not None and raw.bbox is not None:
        excess = max(abs(a - b) for a, b in zip(box, raw.bbox, strict=True))
        if excess > _EDGE_SLACK:
            report.add("clipped", "it reaches past the edge of the image", raw.place, _past_edge(excess))
        return box
    if raw.bbox is None:
        report.add("dropped", "it has neither outline nor box", raw.place)
    elif len(raw.bbox) != 4 or raw.bbox[2] <= raw.bbox[0] or raw.bbox[3] <= raw.bbox[1]:
        report.add("dropped", "its box has no area", raw.place)
    else:
        report.add(
            "dropped",
            "it lies outside the image",
            raw.place,
            f"it lies outside the image of {width}x{height}",
        )
    return None
