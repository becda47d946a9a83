"""Outlines that can't be trained on, or not as they are."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ...annotations import outlines
from ..model import Hit, Part, Shape, Subject
from ..registry import check, noted

# Pixels. Up to one is rounding; up to a hundredth is arithmetic.
_ROUNDING, _NOTHING = 1.0, 0.01
_SURE_AREA = 4.0


def outlined(subject: Subject) -> Iterator[Shape]:
    """All shapes with rings."""
    return (shape for shape in subject.shapes if shape.rings)


def few_points(shape: Shape) -> bool:
    """Whether no ring has three points."""
    return all(len(points) < 3 for points in shape.rings)


@check(
    "D201",
    "error",
    "polygon of fewer than 3 points",
    "Draw it again, or delete it.",
    "dropped",
)
def too_few(subject: Subject) -> Iterator[Hit]:
    """Points and lines called polygons; a part of an object counts too."""
    for shape in outlined(subject):
        counts = [len(points) for points in shape.rings if len(points) < 3]
        if counts:
            yield shape.hit(f"{counts[0]} point{'' if counts[0] == 1 else 's'}")


def is_outside(shape: Shape) -> bool:
    """Whether nothing of a shape is inside its picture."""
    height, width = shape.size
    box = shape.extent
    if box is None or height * width == 0:
        return False
    return box[2] <= 0 or box[3] <= 0 or box[0] >= width or box[1] >= height


# A file is drawn on other pictures where so many objects reach past the edge by a tenth of the picture.
_FAR, _FEWEST, _SHARE = 0.1, 3, 0.2


def drawn_elsewhere(part: Part) -> int:
    """How many objects of a file reach far past their pictures; 0 where so few do that they are slips."""
    count = far = 0
    for shape in part.shapes:
        if 0 not in shape.size:
            count += 1
            far += shape.excess > _FAR * max(shape.size)
    return far if far >= max(_FEWEST, _SHARE * count) else 0


@check(
    "D227",
    "error",
    "file whose objects reach far past its pictures",
    "They were drawn on pictures of another size: use those, or scale the outlines.",
)
def other_pictures(subject: Subject) -> Iterator[Hit]:
    """Annotations of full-size photos beside small ones; what is outside is not cut or dropped then."""
    for part in subject.counted_parts:
        far = drawn_elsewhere(part)
        if far:
            yield Hit(part.source, None, f"{far} objects reach past the edge by more than a tenth")


# Objects of so many pictures that are all in the same part of them from the upper left, at most this.
_ENOUGH, _OBJECTS, _PART = 8, 20, 0.65


@check(
    "D230",
    "warning",
    "file whose objects are all in the upper left of its pictures",
    "They were drawn on smaller pictures: use those, or scale the outlines.",
)
def smaller_pictures(subject: Subject) -> Iterator[Hit]:
    """Annotations of small pictures beside the photos in full size."""
    for part in subject.counted_parts:
        if part.format == "yolo" or sum(1 for picture in part.pictures if picture.shapes) < _ENOUGH:
            continue
        ends = [
            (shape.extent[2] / shape.size[1], shape.extent[3] / shape.size[0])
            for shape in part.shapes
            if shape.extent is not None and 0 not in shape.size
        ]
        if len(ends) >= _OBJECTS and np.max(ends) <= _PART:
            right, low = np.max(ends, axis=0)
            yield Hit(part.source, None, f"none is right of {right:.0%} of the width or below {low:.0%}")


@check("D202", "error", "object wholly outside the picture", "Draw it again, or delete it.", "dropped")
def outside(subject: Subject) -> Iterator[Hit]:
    """Objects of another picture, or of one that was cropped later."""
    for shape in subject.shapes:
        if is_outside(shape) and not (shape.rings and few_points(shape)):
            yield shape.hit(f"outside of {shape.size[1]}x{shape.size[0]}")


def past(shape: Shape) -> bool:
    """Whether the edge is an issue: the size is known and the shape not all outside."""
    return 0 not in shape.size and not is_outside(shape)


@check(
    "D203",
    "warning",
    "polygon that reaches past the edge",
    "It is cut at the edge when it is read.",
    "cut at the edge",
)
def past_edge(subject: Subject) -> Iterator[Hit]:
    """Polygons that leave the picture by more than a pixel, negative coordinates among them."""
    for shape in outlined(subject):
        if past(shape) and shape.excess > _ROUNDING:
            yield shape.hit(f"by {shape.excess:.1f} px")


@check(
    "D208",
    "note",
    "outline or box past the edge by rounding",
    "It is cut at the edge when it is read.",
    "cut at the edge",
)
def past_edge_slightly(subject: Subject) -> Iterator[Hit]:
    """Polygons and boxes that leave the picture by up to a pixel."""
    from .boxes import box_excess

    for shape in subject.shapes:
        excess = max(shape.excess, box_excess(shape))
        if past(shape) and _NOTHING < excess <= _ROUNDING:
            yield shape.hit(f"by {excess:.2f} px")


@check(
    "D204",
    "warning",
    "polygon that crosses itself",
    "Draw it again; what is inside of it depends on the program.",
)
def crossing(subject: Subject) -> Iterator[Hit]:
    """Polygons with two edges that cross, and those that touch themselves or fold back."""
    for shape in outlined(subject):
        if is_empty(shape) or few_points(shape):
            continue
        if shape.crosses:
            yield shape.hit("crosses itself")
        elif shape.touches:
            yield shape.hit("touches itself")


def is_empty(shape: Shape) -> bool:
    """Whether an outline covers no pixel, though it has the points for it."""
    if shape.rle is not None:
        return shape.area == 0
    if not shape.rings or few_points(shape) or is_outside(shape):
        return False
    if any(outlines.area(points) >= _SURE_AREA for points in shape.rings):
        return False
    if shape.crosses:
        return shape.area == 0
    extents = [float(np.prod(np.ptp(points, axis=0))) for points in shape.rings if len(points) > 2]
    flat = all(
        outlines.area(points) <= 1e-9 * max(extent, 1.0)
        for points, extent in zip((p for p in shape.rings if len(p) > 2), extents, strict=True)
    )
    return flat or shape.area == 0


@check("D205", "error", "object without area", "Draw it again, or delete it.", "dropped")
def no_area(subject: Subject) -> Iterator[Hit]:
    """Polygons that are lines, and masks without a pixel."""
    for shape in subject.shapes:
        if is_empty(shape):
            yield shape.hit("covers no pixel")


noted(
    "D209",
    "warning",
    "empty segmentation",
    "Draw the outline; without it the object can't train masks.",
)


@check(
    "D213",
    "note",
    "polygon that repeats its first point at the end",
    "Nothing needs to be done: it is opened when it is read.",
    "opened",
)
def closed(subject: Subject) -> Iterator[Hit]:
    """Closed rings."""
    for shape in outlined(subject):
        if shape.closed:
            yield shape.hit()


@check(
    "D214",
    "note",
    "polygon that repeats a point in a row",
    "Nothing needs to be done: it is left out when it is read.",
    "left out",
)
def repeated(subject: Subject) -> Iterator[Hit]:
    """Rings with a double click."""
    for shape in outlined(subject):
        if shape.repeats:
            yield shape.hit()


@check(
    "D215",
    "error",
    "mask that doesn't fit its picture",
    "Export the masks again, at the picture's own size.",
    "dropped",
)
def broken_mask(subject: Subject) -> Iterator[Hit]:
    """Masks of another size, and run-length ones whose runs don't add up."""
    for part in subject.parts:
        yield from part.notes.get("D215", ())
    for shape in subject.shapes:
        if shape.mask_trouble:
            yield shape.hit(shape.mask_trouble)


noted(
    "D219",
    "error",
    "label in pixels where shares of the picture belong",
    "Divide x by the width and y by the height.",
)
noted(
    "D221",
    "warning",
    "entry that isn't written as its format has it",
    "It is understood here; most tools stop at it, or leave it out.",
    "written as the format has it",
)
noted(
    "D229",
    "note",
    "label with a score",
    "A model wrote it; look whether a person has checked it.",
)
noted(
    "D224",
    "note",
    "annotation without bbox, area or iscrowd",
    "Nothing needs to be done here; COCO's own evaluation stops at it.",
    "computed",
)


@check(
    "D225",
    "warning",
    "single object that is marked as a crowd",
    "Set iscrowd to 0: crowds are not trained on and don't count in scores.",
)
def crowds(subject: Subject) -> Iterator[Hit]:
    """Outlines with iscrowd 1; regions of many objects are run-length masks in COCO's files."""
    for shape in subject.shapes:
        if shape.crowd and shape.rings:
            yield shape.hit()


noted(
    "D222",
    "error",
    "shares of the picture where pixels belong",
    "Multiply x by the width and y by the height.",
)
noted(
    "D223",
    "error",
    "box of two corners where a place and a size belong",
    "Write x, y, width, height (COCO) or the centre, width, height (YOLO).",
    "written so",
)
noted(
    "D226",
    "note",
    "shape that is left out by its label, __ignore__",
    "Nothing needs to be done: it is no object.",
)
noted(
    "D220",
    "warning",
    "shape without area",
    "Points and unknown shapes are left out; draw a polygon.",
    "dropped",
)
