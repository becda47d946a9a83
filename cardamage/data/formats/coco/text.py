"""Annotations as COCO's JSON: all but their ids, which may come later."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from json.encoder import encode_basestring_ascii
from typing import Any

import numpy as np
import pycocotools.mask as mask_util

from ....catalog.coco_json import mask_area
from ...annotations import outlines
from ...annotations.checks import RawAnnotation, checked_rle
from ...annotations.report import AnnotationReport
from ..dataset import AnnotatedImage

__all__ = ["annotation_text", "as_json", "image_text", "with_ids"]

# As many decimals survive the way from x, y, width, height to two corners and back.
_DECIMALS = 9
_FARTHEST = 1e9
_ENCODER = json.JSONEncoder(allow_nan=False)
_OWN = dict.fromkeys(("id", "image_id", "category_id", "segmentation", "bbox", "area", "iscrowd"))


def image_text(image: AnnotatedImage, number: int, file_name: str, losses: AnnotationReport) -> str:
    """Write an image's record.

    Args:
        image: the image.
        number: its id.
        file_name: how the file names it.
        losses: is told what COCO can't hold.
    """
    if image.extra:
        size = {"height": image.height, "width": image.width}
        record = {"id": number, "file_name": file_name, **size}
        return as_json(record, image.extra, image.name, losses)
    # Most have nothing else, and an encoder costs more than all of this.
    name = encode_basestring_ascii(file_name)
    return f'{{"id": {number}, "file_name": {name}, "height": {image.height}, "width": {image.width}}}'


def annotation_text(raw: RawAnnotation, height: int, width: int, losses: AnnotationReport) -> str | None:
    """Write all fields of an annotation but its ids, for :func:`with_ids`.

    Args:
        raw: the annotation.
        height: of the image.
        width: of the image.
        losses: is told what COCO can't hold.

    Returns:
        JSON without the brace before it; None where there is neither outline nor box.

    Raises:
        DataError: for a damaged mask.
    """
    shape = _shape(raw, height, width, losses)
    if shape is None:
        return None
    outline, box, area = shape
    # Lists of numbers look the same in Python and in JSON.
    segmentation = outline if isinstance(outline, list) else _ENCODER.encode(outline)
    further = as_json(_OWN, raw.extra, raw.place, losses, whole=False)
    text = f'"segmentation": {segmentation}, "bbox": {box}, "area": {area}, "iscrowd": {int(raw.iscrowd)}'
    return f"{text}, {further[1:]}" if len(further) > 2 else text + "}"


def with_ids(text: str, number: int, image: int, category: int) -> str:
    """Put an annotation's ids before what :func:`annotation_text` returned."""
    return f'{{"id": {number}, "image_id": {image}, "category_id": {category}, {text}'


def _shape(
    raw: RawAnnotation, height: int, width: int, losses: AnnotationReport
) -> tuple[list[list[float]] | dict[str, Any], list[float], float] | None:
    """COCO's segmentation, bbox and area of an outline or box; None where there is neither."""
    box = _given_box(raw.bbox)
    segmentation: Any = []
    area = box[2] * box[3] if box else 0.0
    if raw.rle is not None:
        rle = checked_rle(raw, height, width)
        counts = rle["counts"]
        segmentation = {
            "size": [height, width],
            "counts": counts.decode("ascii") if isinstance(counts, bytes) else counts,
        }
        area = float(mask_util.area(rle))
        box = box or [float(v) for v in mask_util.toBbox(rle)]
    elif raw.polygons is not None:
        outline = _Outline(raw, height, width, losses)
        segmentation = outline.parts
        if segmentation:
            area = mask_area(outline.inside, height, width) if outline.inside else 0.0
            box = box or outline.box
        elif not raw.polygons:
            losses.add("lost" if box is None else "changed", "its outline has no points", raw.place)
    if box is None:
        if raw.polygons is None:
            losses.add("lost", "it has neither outline nor box", raw.place)
        return None
    return segmentation, box, area


def _given_box(corners: Any) -> list[float] | None:
    if corners is None or len(corners) != 4:
        return None
    x0, y0, x1, y1 = (float(v) for v in corners)
    box = [x0, y0, round(x1 - x0, _DECIMALS), round(y1 - y0, _DECIMALS)]
    return box if all(abs(v) <= _FARTHEST for v in box) else None


class _Outline:
    """An outline's parts as they are, those parts clipped to the image, and the box around these.

    What COCO can't hold is left out: it takes 4 numbers for a box, and fails on fewer. Areas need the clipped
    parts: pycocotools takes endless memory for what is far outside of the image.
    """

    def __init__(self, raw: RawAnnotation, height: int, width: int, losses: AnnotationReport) -> None:
        self.parts: list[list[float]] = []
        self.inside: list[list[float]] = []
        self._corners: list[tuple[float, float, float, float]] = []
        for polygon in raw.polygons or []:
            reason = self._take(polygon, height, width)
            if reason:
                losses.add("lost", reason, raw.place)

    @property
    def box(self) -> list[float]:
        """x, y, width and height around what is inside of the image; around all where nothing is."""
        found = self._corners or [_corners([float(v) for v in part]) for part in self.parts]
        x0, y0 = min(c[0] for c in found), min(c[1] for c in found)
        x1, y1 = max(c[2] for c in found), max(c[3] for c in found)
        return [x0, y0, round(x1 - x0, _DECIMALS), round(y1 - y0, _DECIMALS)]

    def _take(self, polygon: Any, height: int, width: int) -> str | None:
        """Take in a part, or tell why not."""
        try:
            values: list[float] = np.asarray(polygon, dtype=np.float64).reshape(-1).tolist()
        except (TypeError, ValueError, OverflowError):
            return "a part of its outline is not a list of x, y numbers"
        if len(values) % 2:
            return "a part of its outline has an odd count of numbers"
        if len(values) < 6:
            return "a part of its outline has fewer than 3 points"
        x0, y0, x1, y1 = corners = _corners(values)
        # The sum tells whether one of them is no number.
        far = not math.isfinite(sum(values)) or min(x0, y0) < -_FARTHEST or max(x1, y1) > _FARTHEST
        if far:
            return "a part of its outline is not a list of x, y numbers"
        written: list[float] = list(map(int, values)) if all(map(float.is_integer, values)) else values
        self.parts.append(written)
        if x0 >= 0 and y0 >= 0 and x1 <= width and y1 <= height:
            self.inside.append(written)
            self._corners.append(corners)
            return None
        clipped = outlines.flat(outlines.clip(np.array(values).reshape(-1, 2), width, height))
        if len(clipped) >= 6:
            self.inside.append(clipped)
            self._corners.append(_corners(clipped))
        return None


def _corners(values: Sequence[float]) -> tuple[float, float, float, float]:
    xs, ys = values[0::2], values[1::2]
    return min(xs), min(ys), max(xs), max(ys)


def as_json(
    record: Mapping[str, Any],
    extra: Mapping[str, Any],
    place: str,
    losses: AnnotationReport,
    whole: bool = True,
) -> str:
    """Write a record and its further fields.

    Args:
        record: fields that JSON can hold.
        extra: further ones; those that `record` has as well are left out.
        place: whose they are, for messages.
        losses: is told of fields that JSON can't hold.
        whole: whether the record's own fields are written.
    """
    further = {key: value for key, value in extra.items() if key not in record}
    own = record if whole else {}
    try:
        return _ENCODER.encode({**own, **further}) if own or further else "{}"
    except (TypeError, ValueError, RecursionError):
        pass
    for key, value in list(further.items()):
        try:
            _ENCODER.encode({key: value})
        except (TypeError, ValueError, RecursionError):
            del further[key]
            losses.add("lost", f"its field {key!r} is nothing that JSON can hold", place)
    return _ENCODER.encode({**own, **further})
