"""The shapes of one Labelme file as objects: one of a group each, with what its fields say kept by its side.

Neutral names of fields, the same in every format: ``group_id``, ``flags``, ``description``, ``score``,
``shape_type`` (where it is no polygon), ``line_width``. What Labelme doesn't know keeps its own name, but for
names that other formats use for other things, which get ``labelme_`` before them. Parts of a group that
differ in any of these are in ``parts``, each with its count of ``polygons`` where that is not 1.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from ...annotations.checks import RawAnnotation, check_annotation
from ...annotations.report import AnnotationReport, Notes
from ..shared.values import as_number
from .shapes import Outline, shape_outline, united

__all__ = ["CROWD", "IGNORED_LABEL", "TAKEN", "objects_of", "score_text", "shape_label"]

IGNORED_LABEL = "__ignore__"
# The flag of a region of uncounted objects.
CROWD = "iscrowd"
# Names that mean something else in annotations or images of other formats.
TAKEN = frozenset(
    {
        *("id", "image_id", "category_id", "bbox", "bbox_mode", "segmentation", "area", "iscrowd"),
        *("keypoints", "label", "file_name", "height", "width", "parts", "polygons", "annotations"),
    }
)
_OWN = frozenset({"label", "points", "mask", "group_id", "flags", "description", "shape_type"})
_PLAIN_KINDS = (None, "", "polygon")


def shape_label(shape: dict[str, Any]) -> str:
    """Return a shape's label without spaces around it; empty where it has none."""
    label = shape.get("label")
    if not isinstance(label, str):
        return "" if label is None else str(label).strip()
    # Halves of characters can't be written to any file.
    return (label if label.isascii() else label.encode("utf-8", "replace").decode()).strip()


def objects_of(
    path: str,
    shapes: list[dict[str, Any]],
    labels: list[str],
    size: tuple[int, int],
    line_width: float,
    notes: Notes,
) -> list[RawAnnotation]:
    """Turn the shapes of a file into objects.

    Args:
        path: the file, for messages.
        shapes: as stored.
        labels: of the shapes.
        size: height and width of the image.
        line_width: of lines and line strips that don't say theirs, in pixels.
        notes: is told of shapes that can't be objects.
    """
    found = []
    for label, indices in _grouped(shapes, labels):
        if label:
            parts = list(_parts(path, shapes, indices, labels, size, line_width, notes))
            if parts:
                place = _place(path, indices[0], label)
                found.append(
                    _one(parts[0], label, place)
                    if len(indices) == 1
                    else _merged(parts, label, place, size, notes)
                )
        else:
            notes.read += 1
            notes.add("dropped", "its label is empty", _place(path, indices[0], label))
    return found


@dataclass(slots=True)
class _Part:
    shape: dict[str, Any]
    outline: Outline
    place: str
    line_width: float


def _place(path: str, index: int, label: str) -> str:
    return f"{path}, shape {index} ({label!r})"


def _grouped(shapes: list[dict[str, Any]], labels: list[str]) -> Iterable[tuple[str, list[int]]]:
    """Labels and shape indices of each object, in the order of their first shapes."""
    groups: dict[Any, tuple[str, list[int]]] = {}
    for index, (shape, label) in enumerate(zip(shapes, labels, strict=True)):
        if label == IGNORED_LABEL:
            continue
        group = shape.get("group_id")
        key = index if group is None or not label else (label, str(group))
        if key in groups:
            groups[key][1].append(index)
        else:
            groups[key] = (label, [index])
    return groups.values()


def _parts(
    path: str,
    shapes: list[dict[str, Any]],
    indices: list[int],
    labels: list[str],
    size: tuple[int, int],
    line_width: float,
    notes: Notes,
) -> Iterator[_Part]:
    for index in indices:
        shape, place = shapes[index], _place(path, index, labels[index])
        width = _line_width(shape, line_width)
        outline = shape_outline(shape, size, width)
        if outline.refused:
            notes.read += 1
            notes.add("dropped", outline.refused, place)
            continue
        if outline.cut:
            notes.add("clipped", "its mask reaches past the edge of the image", place)
        yield _Part(shape, outline, place, width)


def _line_width(shape: dict[str, Any], line_width: float) -> float:
    own = as_number(shape["line_width"]) if "line_width" in shape else None
    return own if own is not None and 0 < own <= 1e6 else line_width


def _one(part: _Part, label: str, place: str) -> RawAnnotation:
    extra = _fields(part)
    crowd = _take_crowd(extra)
    return RawAnnotation(place, part.outline.polygons, part.outline.rle, None, crowd, extra, label)


def _merged(
    parts: Sequence[_Part], label: str, place: str, size: tuple[int, int], notes: Notes
) -> RawAnnotation:
    """One object of the parts of a group: polygons stay polygons unless a part is a mask."""
    fields = [_fields(part) for part in parts]
    crowd = max([_take_crowd(one) for one in fields])
    extra = {key: value for one in reversed(fields) for key, value in one.items()}
    if any(part.outline.rle is not None for part in parts):
        extra.pop("shape_type", None)
        return RawAnnotation(place, None, _union(parts, size, notes), None, crowd, extra, label)
    polygons = [polygon for part in parts for polygon in part.outline.polygons or []]
    if any(one != fields[0] for one in fields) or len(polygons) != len(parts):
        counts = [len(part.outline.polygons or []) for part in parts]
        extra["parts"] = [
            one if count == 1 else {**one, "polygons": count}
            for one, count in zip(fields, counts, strict=True)
        ]
    return RawAnnotation(place, polygons, None, None, crowd, extra, label)


def _union(parts: Sequence[_Part], size: tuple[int, int], notes: Notes) -> dict[str, Any]:
    drawn: list[list[Any] | dict[str, Any]] = []
    for part in parts:
        if part.outline.rle is not None:
            drawn.append(part.outline.rle)
            continue
        aside = AnnotationReport("")
        checked = check_annotation(RawAnnotation(part.place, part.outline.polygons), *size, aside)
        if checked is not None:
            drawn.append(checked["segmentation"])
        for finding in aside.findings:
            notes.findings.append((finding.verdict, finding.reason, part.place, None))
        notes.read += checked is None
    return united(drawn, size)


def _fields(part: _Part) -> dict[str, Any]:
    """What a shape says besides label and outline, without what says nothing."""
    shape, kind = part.shape, part.shape.get("shape_type")
    extra: dict[str, Any] = {}
    for key, value in shape.items():
        if key not in _OWN:
            extra[f"labelme_{key}" if key in TAKEN else key] = value
    if (group := shape.get("group_id")) is not None:
        extra["group_id"] = group
    if flags := shape.get("flags"):
        extra["flags"] = flags
    description = shape.get("description")
    if description and description != score_text(extra.get("score")):
        extra["description"] = description
    if kind not in _PLAIN_KINDS and part.outline.rle is None:
        extra["shape_type"] = kind
        if kind in ("line", "linestrip"):
            extra["line_width"] = part.line_width
    return extra


def _take_crowd(extra: dict[str, Any]) -> int:
    flags = extra.get("flags")
    if not isinstance(flags, dict) or flags.get(CROWD) is not True:
        return 0
    extra["flags"] = {name: value for name, value in flags.items() if name != CROWD}
    if not extra["flags"]:
        del extra["flags"]
    return 1


def score_text(score: Any) -> str | None:
    """Return how a score is told in a description; None for what is no score."""
    number = as_number(score)
    return None if number is None else f"score {number:.3f}"
