"""The checks of annotations, for many at once.

Most outlines are sound. These are told from the others with a few operations on the points of all together;
only the others are looked at one by one, by :func:`.checks.check_annotation`, which has the last word.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ...structures import BoxMode
from ...utils.heap import without_collection
from . import outlines
from .checks import RawAnnotation, check_annotation, clipped_box
from .report import AnnotationReport

__all__ = ["check_annotations"]

# Outlines this small are drawn to see whether they cover a pixel; a little more than `checks` asks for, as
# sums in another order differ in their last digits.
_SURE_AREA = 4.001
# The work grows with the square of the points, and polygons are padded to one length.
_MOST_POINTS = 64
_PADDING = 4
_AT_ONCE = 1 << 19


def check_annotations(
    raws: Sequence[RawAnnotation], sizes: Sequence[tuple[int, int]], report: AnnotationReport
) -> list[dict[str, Any] | None]:
    """Do as :func:`.checks.check_annotation` for each annotation, in their order.

    Args:
        raws: the annotations.
        sizes: height and width of the image of each.
        report: is told what was found.

    Returns:
        What `check_annotation` returns for each.

    Raises:
        DataError: for a run-length mask of another size than the image's.
    """
    with without_collection():
        return _checked(raws, sizes, report)


def _checked(
    raws: Sequence[RawAnnotation], sizes: Sequence[tuple[int, int]], report: AnnotationReport
) -> list[dict[str, Any] | None]:
    quick = _sound(raws, sizes)
    checked: list[dict[str, Any] | None] = []
    for number, (raw, (height, width)) in enumerate(zip(raws, sizes, strict=True)):
        found = quick.get(number)
        if found is None:
            checked.append(check_annotation(raw, height, width, report))
            continue
        report.read += 1
        segmentation, around = found
        box = around if raw.bbox is None else clipped_box(raw.bbox, height, width) or around
        head = {"bbox_mode": BoxMode.XYXY_ABS, "iscrowd": raw.iscrowd}
        checked.append({"bbox": box, "segmentation": segmentation, **head})
    return checked


def _sound(
    raws: Sequence[RawAnnotation], sizes: Sequence[tuple[int, int]]
) -> dict[int, tuple[list[list[float]], list[float]]]:
    """Polygons and box of each annotation about whose outline there is nothing to say."""
    owners: list[int] = []
    polygons: list[np.ndarray] = []
    for number, raw in enumerate(raws):
        if raw.rle is None and raw.polygons and all(map(_is_points, raw.polygons)):
            polygons += raw.polygons
            owners += [number] * len(raw.polygons)
    if not polygons:
        return {}
    points = np.concatenate(polygons)
    points, counts = _without_repeats(points, np.array([len(polygon) for polygon in polygons]))
    starts = np.cumsum(counts) - counts
    low, high = np.minimum.reduceat(points, starts), np.maximum.reduceat(points, starts)
    limits = np.array([sizes[owner][::-1] for owner in owners], dtype=np.float64)
    good = (counts >= 3) & (low >= 0).all(axis=1) & (high <= limits).all(axis=1)
    good &= _areas(points, starts, counts) >= _SURE_AREA
    good[good] = ~_crossing(points, starts[good], counts[good])
    return _gathered(owners, good, points, starts, np.concatenate([low, high], axis=1))


def _is_points(polygon: Any) -> bool:
    return (
        type(polygon) is np.ndarray
        and polygon.ndim == 2
        and polygon.shape[1] == 2
        and len(polygon) > 2
        and polygon.dtype == np.float64
    )


def _without_repeats(points: np.ndarray, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Points that differ from those after them, the last from the first; as :func:`outlines.as_points`."""
    starts = np.cumsum(counts) - counts
    changed = (points != points[_after(starts, counts)]).any(axis=1)
    # Of points that are all the same, one stays.
    left = np.add.reduceat(changed, starts, dtype=np.int64)
    changed[starts[left == 0]] = True
    return (points, counts) if changed.all() else (points[changed], np.maximum(left, 1))


def _after(starts: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """The index of the point after each, in its own polygon."""
    after = np.arange(1, int(counts.sum()) + 1)
    after[starts + counts - 1] = starts
    return after


def _areas(points: np.ndarray, starts: np.ndarray, counts: np.ndarray) -> np.ndarray:
    with np.errstate(all="ignore"):
        x, y = (points - np.repeat(points[starts], counts, axis=0)).T
        after = _after(starts, counts)
        return np.abs(np.add.reduceat(x * y[after] - y * x[after], starts)) / 2


def _crossing(points: np.ndarray, starts: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Whether each polygon crosses itself; those of very many points count as if they did."""
    crossing = np.ones(len(starts), dtype=bool)
    padded = -(-counts // _PADDING) * _PADDING
    for length in np.unique(padded[counts <= _MOST_POINTS]).tolist():
        members = np.flatnonzero(padded == length)
        for part in np.array_split(members, -(-len(members) * length * length // _AT_ONCE)):
            # Filled up with its first point, a polygon has further edges of no length.
            places = np.arange(length)
            places = starts[part, None] + np.where(places < counts[part, None], places, 0)
            crossing[part] = outlines.cross_themselves(points[places])
    return crossing


def _gathered(
    owners: Sequence[int], good: np.ndarray, points: np.ndarray, starts: np.ndarray, boxes: np.ndarray
) -> dict[int, tuple[list[list[float]], list[float]]]:
    flat = points.reshape(-1).tolist()
    ends = [*(2 * starts[1:]).tolist(), len(flat)]
    found: dict[int, tuple[list[list[float]], list[float]]] = {}
    refused = set()
    for owner, is_good, start, end, box in zip(
        owners, good.tolist(), (2 * starts).tolist(), ends, boxes.tolist(), strict=True
    ):
        if not is_good:
            refused.add(owner)
        elif owner not in found:
            found[owner] = ([flat[start:end]], box)
        else:
            parts, around = found[owner]
            parts.append(flat[start:end])
            around[:2] = map(min, around[:2], box[:2])
            around[2:] = map(max, around[2:], box[2:])
    for owner in refused:
        found.pop(owner, None)
    return found
