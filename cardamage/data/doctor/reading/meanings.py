"""Coordinates of a whole file that mean something else than its format says, understood all the same.

Each kind is noted and the shapes are made what was meant: else every other check would tell of them too.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

from ..model import Part, Picture, Shape, Subject
from ..shape import Box, past_edge

__all__ = ["understand"]

# A file is taken to be written otherwise by at least so many of its objects, and by such a share of them.
_LEAST, _MANY, _NEARLY_ALL = 3, 0.25, 0.95
# Shares of a picture end at 1, but for rounding; pictures of fewer pixels are not told apart.
_LARGEST_SHARE, _SMALLEST_SIDE = 1.01, 16
_PIXEL = 1.0
# Percent end at 100, but for rounding, and some objects reach far towards it. That all objects are in there,
# were they anywhere in their pictures, must be less likely than this power of ten.
_HUNDRED, _FULL, _ODDS = 100.5, 80.0, -6.0
# Pixels by which a box may be off the outline that it is around.
_AROUND = 2.0


def understand(subject: Subject) -> None:
    """Look for shares in place of pixels, corners in place of sizes, and swapped sides.

    Args:
        subject: all that was read, with the sizes of pictures; its shapes are changed.
    """
    for part in subject.parts:
        if part.format != "masks":
            _unscale(part)
            _of_hundred(part)
            _corners(part)
            _turn(part, subject)


def _unscale(part: Part) -> None:
    """Shares of the picture in a format that has pixels (D222). YOLO's reader does the other way round."""
    shapes = [shape for shape in part.shapes if shape.extent is not None and shape.rle is None]
    if part.format == "yolo" or len(shapes) < _LEAST:
        return
    if not all(
        min(shape.size) >= _SMALLEST_SIDE and 0 <= min(shape.extent or (-1.0,)) <= max(shape.extent or ())
        for shape in shapes
    ):
        return
    if max(max(shape.extent or (2.0,)) for shape in shapes) > _LARGEST_SHARE:
        return
    for shape in shapes:
        height, width = shape.size
        part.note("D222", shape.file, shape.index, shape.label or "")
        shape.rings = [ring * (width, height) for ring in shape.rings]
        if shape.stated_area is not None and shape.stated_area <= 1:
            shape.stated_area *= width * height
        if shape.box is not None:
            x0, y0, x1, y1 = shape.box
            shape.box = (x0 * width, y0 * height, x1 * width, y1 * height)


def _of_hundred(part: Part) -> None:
    """Percent in a format that has pixels (D222): all objects are in the first 100, against all odds."""
    shapes = [shape for shape in part.shapes if shape.extent is not None and shape.rle is None]
    if part.format == "yolo" or sum(1 for picture in part.pictures if picture.shapes) < _LEAST:
        return
    extents = [shape.extent or (-1.0,) * 4 for shape in shapes]
    if not all(min(shape.size) > 2 * _HUNDRED for shape in shapes) or min(map(min, extents), default=0.0) < 0:
        return
    if not _FULL <= max((max(extent) for extent in extents), default=0.0) <= _HUNDRED:
        return
    odds = sum(math.log10(_HUNDRED**2 / (shape.size[0] * shape.size[1])) for shape in shapes)
    for shape in shapes if odds < _ODDS else ():
        scale = shape.size[1] / 100, shape.size[0] / 100
        part.note("D222", shape.file, shape.index, f"{shape.label or 'object'}: in percent")
        shape.rings = [ring * scale for ring in shape.rings]
        if shape.stated_area is not None:
            shape.stated_area *= scale[0] * scale[1]
        if shape.box is not None:
            x0, y0, x1, y1 = shape.box
            shape.box = (x0 * scale[0], y0 * scale[1], x1 * scale[0], y1 * scale[1])


def _corners(part: Part) -> None:
    """Boxes written as x0, y0, x1, y1 (D223), told by what they are around or by how they would leave."""
    boxed = [shape for shape in part.shapes if shape.box is not None and 0 not in shape.size]
    if part.format not in ("coco", "yolo") or len(boxed) < _LEAST:
        return
    as_corners = _from_centre if part.format == "yolo" else _from_sizes
    if part.format == "yolo":
        boxed = [shape for shape in boxed if shape.kind == "box"]
    around = [shape for shape in boxed if shape.rings and shape.extent is not None]
    wrong = [shape for shape in around if not _fits(shape.box, shape.extent)]
    if around:
        right = sum(_fits(as_corners(shape), shape.extent) for shape in wrong)
        meant = len(wrong) >= max(_LEAST, _MANY * len(around)) and right >= _NEARLY_ALL * len(wrong)
    else:
        meant = _leave(boxed, lambda shape: shape.box) >= max(_LEAST, _MANY * len(boxed))
        meant = meant and _leave(boxed, as_corners) <= (1 - _NEARLY_ALL) * len(boxed)
    for shape in boxed if meant else ():
        box = as_corners(shape)
        if box is not None:
            part.note("D223", shape.file, shape.index, shape.label or "")
            shape.box = box
            shape.rewrite = True


def _from_sizes(shape: Shape) -> Box | None:
    x0, y0, x1, y1 = shape.box or (0.0, 0.0, 0.0, 0.0)
    return _upright((x0, y0, x1 - x0, y1 - y0))


def _from_centre(shape: Shape) -> Box | None:
    x0, y0, x1, y1 = shape.box or (0.0, 0.0, 0.0, 0.0)
    return _upright(((x0 + x1) / 2, (y0 + y1) / 2, x1 - x0, y1 - y0))


def _upright(box: Box) -> Box | None:
    return box if box[2] > box[0] and box[3] > box[1] else None


def _fits(box: Box | None, extent: Box | None) -> bool:
    if box is None or extent is None:
        return False
    return all(abs(a - b) <= _AROUND for a, b in zip(box, extent, strict=True))


def _leave(shapes: Iterable[Shape], box_of: Callable[[Shape], Box | None]) -> int:
    """How many would have no box, or one past the edge."""
    boxes = ((box_of(shape), shape.size) for shape in shapes)
    return sum(box is None or past_edge(box, size) > _PIXEL for box, size in boxes)


def _turn(part: Part, subject: Subject) -> None:
    """Stated sides that are the picture's swapped: what the shapes fit tells what happened.

    Where they fit the picture only, the stated sides are swapped; where they fit what is stated only, the
    picture was turned since. Where they fit both, it is as with the others of the file.
    """
    fits: list[tuple[Picture, list[Shape], tuple[int, int], bool, bool]] = []
    for picture in part.pictures:
        look = subject.look(picture.source)
        if picture.size is None or look.upright is None or look.orientation >= 5:
            continue
        if picture.size == look.upright or picture.size != look.upright[::-1]:
            continue
        shapes = [shape for shape in picture.shapes if shape.rle is None and shape.extent is not None]
        here, stated = (
            all(past_edge(shape.extent, size) <= _PIXEL for shape in shapes)
            for size in (look.upright, picture.size)
        )
        fits.append((picture, shapes, look.upright, here, stated))
    turned = any(stated and not here for *_, here, stated in fits)
    for picture, shapes, size, here, stated in fits:
        picture.turned = stated and not here
        picture.swapped = here and not (stated and turned)
        for shape in shapes if picture.swapped else ():
            shape.size = size
