"""Objects that are marked twice."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ..model import Hit, Picture, Shape, Subject
from ..registry import check

_PIXEL = 1.0
_AREA = 0.02


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
    for picture in subject.pictures:
        for shape, first in doubles(picture):
            if shape.label == first.label:
                yield shape.hit(f"the same as {first.index}")


@check(
    "D217",
    "warning",
    "object that is marked as two classes",
    "Decide for one, or draw each on its own.",
)
def two_classes(subject: Subject) -> Iterator[Hit]:
    """Outlines or boxes of different classes on the same place."""
    for picture in subject.pictures:
        for shape, first in doubles(picture):
            if shape.label != first.label:
                yield shape.hit(f"the same outline as {first.index} ({first.label})")
