"""Objects that are marked twice."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

import numpy as np
import pycocotools.mask as mask_util

from ...images.hashes import original_name
from ..model import Hit, Picture, Shape, Subject
from ..registry import check

_PIXEL = 1.0
_AREA = 0.02
# Two outlines of one class that share so much are hardly two objects; of boxes of more pixels than this.
_NEARLY, _LEAST_AREA = 0.9, 400.0


def doubles(picture: Picture) -> Iterator[tuple[Shape, Shape]]:
    """Pairs of shapes of a picture on the same place: the later, and the first of them."""
    shapes = [shape for shape in picture.shapes if shape.extent is not None and not shape.crowd]
    if len(shapes) < 2:
        return
    boxes = np.array([shape.extent for shape in shapes])
    for index in range(1, len(shapes)):
        near = np.abs(boxes[:index] - boxes[index]).max(axis=1) <= _PIXEL
        for first in np.flatnonzero(near):
            if _same_outline(shapes[first], shapes[index]):
                yield shapes[index], shapes[first]
                break


def _same_outline(one: Shape, other: Shape) -> bool:
    if one.kind != other.kind:
        return False
    a, b = one.area, other.area
    return a is not None and b is not None and abs(a - b) <= _AREA * max(a, b, 1.0)


@check("D206", "warning", "object that is marked twice", "Delete one of them.", "dropped")
def twice(subject: Subject) -> Iterator[Hit]:
    """Outlines or boxes of one class on the same place."""
    for picture in subject.told_pictures:
        for shape, first in doubles(picture):
            if shape.label == first.label:
                yield shape.hit(f"the same as {first.index}")


def nearly_doubles(picture: Picture) -> Iterator[tuple[Shape, Shape]]:
    """Pairs of shapes of one class that cover nearly the same, without those that :func:`doubles` gives."""
    shapes = [s for s in picture.shapes if s.extent is not None and not s.crowd and not s.line]
    if len(shapes) < 2:
        return
    boxes = np.array([shape.extent for shape in shapes])
    sides = np.maximum(boxes[:, 2:] - boxes[:, :2], 0.0)
    for index in range(1, len(shapes)):
        low = np.maximum(boxes[:index, :2], boxes[index, :2])
        high = np.minimum(boxes[:index, 2:], boxes[index, 2:])
        shared = np.maximum(high - low, 0.0).prod(axis=1)
        whole = sides[:index].prod(axis=1) + sides[index].prod() - shared
        near = (shared >= _NEARLY * whole) & (np.abs(boxes[:index] - boxes[index]).max(axis=1) > _PIXEL)
        for first in np.flatnonzero(near & (whole > _LEAST_AREA)):
            one, other = shapes[first], shapes[index]
            if one.label == other.label and one.kind == other.kind and _cover_the_same(one, other):
                yield other, one
                break


def _cover_the_same(one: Shape, other: Shape) -> bool:
    if one.kind == "box":
        return True
    masks = [shape.mask() for shape in (one, other)]
    if None in masks:
        return False
    return float(mask_util.iou([masks[0]], [masks[1]], [0])[0, 0]) >= _NEARLY


@check(
    "D228",
    "warning",
    "object that is marked twice, nearly",
    "Delete one of them, unless there are two.",
)
def nearly_twice(subject: Subject) -> Iterator[Hit]:
    """Outlines of one class that share nine tenths of what they cover: drawn again, or by two people."""
    for picture in subject.told_pictures:
        for shape, first in nearly_doubles(picture):
            yield shape.hit(f"nearly the same as {first.index}")


@check(
    "D217",
    "warning",
    "object that is marked as two classes",
    "Decide for one, or draw each on its own.",
)
def two_classes(subject: Subject) -> Iterator[Hit]:
    """Outlines or boxes of different classes on the same place."""
    for picture in subject.told_pictures:
        for shape, first in doubles(picture):
            if None not in (shape.label, first.label) and shape.label != first.label:
                yield shape.hit(f"the same outline as {first.index} ({first.label})")


# Pictures with the very same outline, and the points that make it no box.
_PICTURES, _POINTS = 4, 5


@check(
    "D232",
    "warning",
    "outline that several photos share to the point",
    "It was copied from one to the others; draw what is there.",
)
def copied(subject: Subject) -> Iterator[Hit]:
    """Outlines pasted into, or kept for, the pictures that follow; not those of copies of a photo."""
    by_outline: dict[tuple[str, bytes], dict[object, Shape]] = defaultdict(dict)
    for picture in subject.told_pictures:
        photo = original_name(picture.source) or subject.look(picture.source).digest or picture.source
        for shape in picture.shapes:
            if not shape.line and any(len(ring) >= _POINTS for ring in shape.rings):
                outline = b"".join(ring.tobytes() for ring in shape.rings)
                by_outline[shape.label or "", outline].setdefault(photo, shape)
    for shapes in by_outline.values():
        if len(shapes) >= _PICTURES:
            first, *others = shapes.values()
            yield Hit(
                first.file,
                first.index,
                f"{first.label or 'object'}: in {len(shapes)} photos",
                tuple(dict.fromkeys(shape.file for shape in others if shape.file != first.file)),
            )
