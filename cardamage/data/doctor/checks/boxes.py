"""Boxes: past the edge, in place of outlines, or not around them."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ...annotations import outlines
from ..model import Hit, Shape, Subject
from ..registry import check
from ..shape import past_edge
from .outlines import few_points, is_empty, past

_ROUNDING = 1.0
# Pixels by which the corners of a drawn box may be off; and by which boxes rounded to pixels may differ.
_STRAIGHT, _ROUNDED = 0.75, 2.0
_SAME_BOX = 0.9


def box_excess(shape: Shape) -> float:
    """By how many pixels a stated box reaches past the edge."""
    return past_edge(shape.box, shape.size)


@check(
    "D207",
    "warning",
    "box that reaches past the edge",
    "It is cut at the edge when it is read.",
    "cut at the edge",
)
def box_past_edge(subject: Subject) -> Iterator[Hit]:
    """Boxes that leave the picture by more than a pixel."""
    for shape in subject.shapes:
        if past(shape) and box_excess(shape) > _ROUNDING:
            yield shape.hit(f"by {box_excess(shape):.1f} px")


def is_box(points: np.ndarray) -> bool:
    """Whether an outline is an upright rectangle; points along its sides count as none."""
    if not 4 <= len(points) <= 8:
        return False
    (x0, y0), (x1, y1) = points.min(axis=0), points.max(axis=0)
    if x1 - x0 <= 2 * _STRAIGHT or y1 - y0 <= 2 * _STRAIGHT:
        return False
    on_x = np.minimum(np.abs(points[:, 0] - x0), np.abs(points[:, 0] - x1)) <= _STRAIGHT
    on_y = np.minimum(np.abs(points[:, 1] - y0), np.abs(points[:, 1] - y1)) <= _STRAIGHT
    full = outlines.area(points) >= 0.98 * (x1 - x0) * (y1 - y0)
    return bool((on_x | on_y).all() and (on_x & on_y).sum() >= 4 and full)


@check(
    "D210",
    "warning",
    "box drawn as an outline",
    "Draw the outline: masks trained on boxes become boxes.",
)
def drawn_boxes(subject: Subject) -> Iterator[Hit]:
    """Polygons of four corners with upright sides, and shapes of the rectangle tool."""
    for shape in subject.shapes:
        if len(shape.rings) == 1 and (shape.by_hand or is_box(shape.rings[0])):
            yield shape.hit()


@check(
    "D211",
    "warning",
    "object with a box and no outline",
    "It can train a detector, not masks; draw its outline.",
)
def box_only(subject: Subject) -> Iterator[Hit]:
    """Boxes."""
    for shape in subject.shapes:
        if shape.kind == "box" and not is_flat_box(shape):
            yield shape.hit()


@check(
    "D216",
    "warning",
    "stated box that isn't around its outline",
    "Compute it from the outline.",
    "computed from the outline",
)
def wrong_box(subject: Subject) -> Iterator[Hit]:
    """Boxes in x0, y0, x1, y1 where COCO's x, y, width, height belong, and stale ones."""
    for shape in outlined_boxes(subject):
        overlap = box_overlap(shape)
        if overlap < _SAME_BOX:
            swapped = is_swapped(shape)
            yield shape.hit(
                "the outline has x and y swapped" if swapped else f"they overlap by {overlap:.0%}"
            )


def outlined_boxes(subject: Subject) -> Iterator[Shape]:
    """Shapes with an outline or a mask, and a stated box."""
    for shape in subject.shapes:
        drawn = shape.rle is not None or (shape.rings and not few_points(shape))
        if drawn and shape.box is not None and not shape.crowd:
            yield shape


def box_overlap(shape: Shape) -> float:
    """Intersection over union of the stated box and the one around the outline, but for rounding: then 1."""
    a, b = shape.box, shape.extent
    if a is None or b is None or max(abs(p - q) for p, q in zip(a, b, strict=True)) <= _ROUNDED:
        return 1.0
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    inside = max(width, 0.0) * max(height, 0.0)
    whole = sum((box[2] - box[0]) * (box[3] - box[1]) for box in (a, b)) - inside
    return inside / whole if whole > 0 else 0.0


def is_swapped(shape: Shape) -> bool:
    """Whether the outline would be in its box with x and y swapped, and isn't as it is."""
    a, b = shape.box, shape.extent
    if a is None or b is None or box_overlap(shape) >= _SAME_BOX:
        return False
    return max(abs(a[0] - b[1]), abs(a[1] - b[0]), abs(a[2] - b[3]), abs(a[3] - b[2])) <= _ROUNDED


@check("D218", "error", "box without area", "Draw it again, or delete it.", "dropped")
def flat_box(subject: Subject) -> Iterator[Hit]:
    """Boxes of no width or height, and objects with neither outline nor box."""
    for shape in subject.shapes:
        if is_flat_box(shape):
            yield shape.hit("neither outline nor box" if shape.box is None else "no width or height")


def is_flat_box(shape: Shape) -> bool:
    """Whether a shape without outline has no box with an area either."""
    if shape.kind != "box":
        return False
    return shape.box is None or shape.box[2] <= shape.box[0] or shape.box[3] <= shape.box[1]


def area_matches(shape: Shape) -> bool:
    """Whether a stated area is that of the mask, or the one that the outline encloses."""
    stated, drawn = shape.stated_area, shape.area
    if stated is None or drawn is None or shape.crowd or shape.kind == "box" or is_empty(shape):
        return True
    rings = sum(outlines.area(points) for points in shape.rings)
    return any(abs(stated - area) <= max(1.0, 0.01 * area) for area in (drawn, rings) if area > 0)


@check(
    "D212",
    "warning",
    "'area' that isn't the outline's",
    "Compute it from the mask: it decides what counts as small, medium and large.",
    "computed from the mask",
)
def wrong_area(subject: Subject) -> Iterator[Hit]:
    """Areas of the box, stale ones, and those of another scale."""
    for shape in subject.shapes:
        if not area_matches(shape):
            yield shape.hit(f"{shape.stated_area:.0f}, but its mask has {shape.area:.0f}")


# Share of each side.
_WHOLE = 0.98


@check(
    "D231",
    "warning",
    "box of the whole picture",
    "Draw what is meant: it teaches where nothing ends.",
)
def whole_picture(subject: Subject) -> Iterator[Hit]:
    """Boxes and drawn boxes around everything, as of pictures that were only sorted by classes."""
    for shape in subject.shapes:
        box, drawn = shape.extent, shape.kind == "box" or (len(shape.rings) == 1 and is_box(shape.rings[0]))
        if drawn and box is not None and 0 not in shape.size:
            height, width = shape.size
            if box[2] - box[0] >= _WHOLE * width and box[3] - box[1] >= _WHOLE * height:
                yield shape.hit()
