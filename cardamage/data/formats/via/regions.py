"""Objects in memory as VIA's regions."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np

from ...annotations import outlines
from ...annotations.checks import RawAnnotation, checked_rle
from ...annotations.report import AnnotationReport
from ..dataset import AnnotatedImage
from ..losses import tell_box
from ..shared.values import as_id
from ..tracing.mask_outlines import mask_outlines, simplify
from ..tracing.parts import usable_parts
from .shapes import drawn_shape, polygon_shape, rectangle_shape, remembered_shape, told_by

__all__ = ["as_attributes", "regions_of"]

_FARTHEST = 1e9


def regions_of(
    image: AnnotatedImage, class_attribute: str, tolerance: float, losses: AnnotationReport
) -> list[dict[str, Any]]:
    """Turn an image's objects into regions; the parts of one share a ``group_id``.

    Args:
        image: with its objects.
        class_attribute: the attribute whose value is the class.
        tolerance: outlines of masks may be simplified by so many pixels.
        losses: is told what VIA can't hold.

    Raises:
        DataError: for a damaged mask.
    """
    groups = _Groups(image)
    regions = []
    for raw in image.annotations:
        losses.read += 1
        shapes = _shapes(raw, image, tolerance, losses)
        attributes = _attributes(raw, told_by(shapes), class_attribute, losses)
        group = groups.take(raw, len(shapes), losses) if shapes else None
        if group is not None:
            attributes["group_id"] = str(group)
        regions += [{"shape_attributes": shape, "region_attributes": attributes} for shape in shapes]
    return regions


def as_attributes(fields: Mapping[str, Any], place: str, losses: AnnotationReport) -> dict[str, Any]:
    """Return further fields as attributes: text, or boxes to tick; what is empty is left out."""
    found: dict[str, Any] = {}
    for key, value in fields.items():
        if isinstance(value, str):
            found[key] = value
        elif isinstance(value, dict) and value and all(isinstance(v, bool) for v in value.values()):
            found[key] = value
        elif value not in (None, {}, []):
            try:
                found[key] = json.dumps(value, ensure_ascii=False, allow_nan=False)
            except (TypeError, ValueError, RecursionError):
                losses.add("lost", f"its field {key!r} is nothing that JSON can hold", place)
    return found


class _Groups:
    """Numbers that parts of one object share: no other object of the class may have the same."""

    def __init__(self, image: AnnotatedImage) -> None:
        wanted = [(raw.label, raw.extra.get("group_id")) for raw in image.annotations]
        self._count = Counter((label, str(group)) for label, group in wanted if group is not None)
        self._next = 1 + max((as_id(group) or 0 for _, group in wanted), default=0)

    def take(self, raw: RawAnnotation, parts: int, losses: AnnotationReport) -> Any:
        """Return the group of an object of so many parts; None where it needs none."""
        group = raw.extra.get("group_id")
        if group is not None and self._count[raw.label, str(group)] == 1:
            return group
        if group is not None:
            losses.add(
                "changed",
                "its group_id is that of another object of its class, so it gets another",
                raw.place,
            )
        elif parts == 1:
            return None
        self._next += 1
        return self._next - 1


def _attributes(
    raw: RawAnnotation, told: Mapping[str, Any], class_attribute: str, losses: AnnotationReport
) -> dict[str, Any]:
    further = raw.extra.get("attributes")
    own = {
        key: value
        for key, value in raw.extra.items()
        if key not in ("attributes", "via_shape", "group_id") and not (key in told and value == told[key])
    }
    if isinstance(further, Mapping):
        own = {**further, **{k: v for k, v in own.items() if v not in (None, "", {}, [])}}
    elif further:
        own["attributes"] = further
    found = as_attributes(own, raw.place, losses)
    if class_attribute in found:
        found[f"{class_attribute}_2"] = found.pop(class_attribute)
        reason = f"its attribute {class_attribute!r} gets a 2 behind its name, which the class has"
        losses.add("changed", reason, raw.place)
    if raw.iscrowd:
        found["iscrowd"] = "1"
    return {class_attribute: raw.label, **found}


def _shapes(
    raw: RawAnnotation, image: AnnotatedImage, tolerance: float, losses: AnnotationReport
) -> list[dict[str, Any]]:
    if raw.rle is not None:
        rle = checked_rle(raw, image.height, image.width)
        tell_box(raw, rle, losses)
        rings = mask_outlines(rle)
        if rings:
            losses.add("changed", "its mask becomes an outline along the edges of its pixels", raw.place)
        else:
            losses.add("lost", "its mask is empty", raw.place)
        return [polygon_shape(ring) for ring in simplify(rings, tolerance)]
    if raw.polygons is not None:
        native = remembered_shape(raw.extra.get("via_shape"), raw.polygons)
        native = native or drawn_shape(raw.extra.get("shape_type"), raw.polygons)
        if native is not None and len(raw.polygons) > 0:
            return [native]
        polygons = usable_parts(raw, losses)
        inside = [outlines.clip(points, image.width, image.height) for points in polygons]
        tell_box(raw, [points for points in inside if len(points)] or polygons, losses)
        if polygons or raw.bbox is None:
            return [polygon_shape(points) for points in polygons]
    if raw.bbox is None or not (np.abs(np.asarray(raw.bbox, dtype=np.float64)) <= _FARTHEST).all():
        losses.add("lost", "it has neither outline nor box", raw.place)
        return []
    losses.add("changed", "its box becomes a rectangle, which VIA takes for its outline", raw.place)
    return [rectangle_shape(raw.bbox)]
