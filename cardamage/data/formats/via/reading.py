"""VIA's files as annotations in memory; see :mod:`cardamage.data.formats.via` for what is understood."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ....errors import DataError
from ...annotations import outlines
from ...annotations.checks import RawAnnotation
from ...annotations.report import AnnotationReport
from ...images.checks import missing_message
from ..dataset import AnnotatedDataset, AnnotatedImage
from ..pictures.finding import ImageFolder
from ..pictures.sizes import picture_sizes
from ..shared.shared_root import name_below
from .classes import ClassAttribute, find_class_attribute, image_fields, neutral_fields
from .file import ViaEntry, read_via_file
from .shapes import native_shape, shape_outline, told_by

__all__ = ["read_via"]


def read_via(
    path: str | os.PathLike[str],
    report: AnnotationReport,
    image_root: str | os.PathLike[str] | None = None,
    classes: Sequence[str] | None = None,
    attribute: str | None = None,
    line_width: float = 5.0,
) -> tuple[AnnotatedDataset, Path]:
    """Read one VIA file.

    Args:
        path: the file.
        report: is told of regions that are no objects.
        image_root: folder of the pictures; by default one of the usual places around the file.
        classes: their order; by default all that occur, sorted by name.
        attribute: region attribute whose value is the class; None finds it.
        line_width: of polylines, in pixels.

    Returns:
        The dataset, and the pictures' folder. The dataset's ``extra["via"]`` holds the project's settings and
        attributes, and which attribute is the class. That of objects holds further attributes, and the shape
        where that is no polygon.

    Raises:
        DataError: for a file that can't be used, or missing pictures.
    """
    name = os.fspath(path)
    file = read_via_file(name)
    folder = _folder(name, image_root, file.entries, file.settings)
    paths = [folder.path_of({"filename": entry.filename}) for entry in file.entries]
    missing = [path for path in paths if not os.path.isfile(path)]
    if missing:
        raise DataError(missing_message(missing, len(paths)))
    key = find_class_attribute((a for entry in file.entries for a in entry.attributes), attribute)
    images: list[AnnotatedImage] = []
    found: set[str] = set()
    sizes = picture_sizes(map(Path, paths))
    for entry, source, (height, width) in zip(file.entries, paths, sizes, strict=True):
        raws = _objects(entry, key, f"{name}, {entry.filename}", line_width, report)
        relative = name_below(source, folder.root)
        images.append(AnnotatedImage(relative, source, height, width, raws, extra=image_fields(entry.extra)))
        found.update(label for attributes in entry.attributes for label in key.labels(attributes)[:1])
    names = sorted(found) if classes is None else list(classes)
    extra: dict[str, Any] = {"class_attribute": key.name} if key.name else {}
    extra.update({k: v for k in ("settings", "attributes") if (v := getattr(file, k))})
    return AnnotatedDataset(name, "via", names, images, {"via": extra} if extra else {}), folder.root


def _folder(name: str, root: Any, entries: Sequence[ViaEntry], settings: dict[str, Any]) -> ImageFolder:
    """The pictures' folder; a project may name one below its own."""
    records = [{"filename": entry.filename} for entry in entries]
    core = settings.get("core")
    named = core.get("default_filepath") if isinstance(core, dict) else None
    if root is None and isinstance(named, str) and named.strip("./\\") and "\0" not in named:
        place = Path(name).parent / named.replace("\\", "/")
        inside = Path(os.path.abspath(place)).is_relative_to(os.path.abspath(Path(name).parent))
        if inside and place.is_dir():
            return ImageFolder.around(Path(name), place, records)
    return ImageFolder.around(Path(name), root, records)


def _objects(
    entry: ViaEntry, key: ClassAttribute, place: str, line_width: float, report: AnnotationReport
) -> list[RawAnnotation]:
    found: list[RawAnnotation] = []
    groups: dict[tuple[str, Any], RawAnnotation] = {}
    for index, (shape, attributes) in enumerate(zip(entry.shapes, entry.attributes, strict=True)):
        labels = key.labels(attributes)
        label = labels[0] if labels else ""
        where = f"{place}, region {index} ({label!r})"
        polygons, reason = shape_outline(shape, line_width)
        if not label or polygons is None:
            report.read += 1
            report.add("dropped", reason if label else _unlabelled(key), where)
            continue
        if len(labels) > 1:
            ticked = ", ".join(labels)
            report.add(
                "kept", "several classes are ticked", where, f"{ticked} are ticked and the first counts"
            )
        extra, crowd = neutral_fields(key.others(attributes))
        native = native_shape(shape, line_width)
        if native is not None:
            extra["via_shape"] = native
        raw = RawAnnotation(
            where, list(map(outlines.flat, polygons)), iscrowd=crowd, extra=extra, label=label
        )
        first = groups.setdefault((label, extra["group_id"]), raw) if "group_id" in extra else raw
        if first is raw:
            found.append(raw)
        else:
            _join(first, raw, report)
    for raw in found:
        if "via_shape" in raw.extra:
            for name, value in told_by([raw.extra["via_shape"]]).items():
                raw.extra.setdefault(name, value)
    return found


def _unlabelled(key: ClassAttribute) -> str:
    if key.keys:
        return "none of the attributes that are classes is ticked"
    return f"its attribute {key.name!r} is empty"


def _join(first: RawAnnotation, other: RawAnnotation, report: AnnotationReport) -> None:
    """Put another part of the same object to the first."""
    first.polygons = [*(first.polygons or []), *(other.polygons or [])]
    first.iscrowd = max(first.iscrowd, other.iscrowd)
    for raw in (first, other):
        raw.extra.pop("via_shape", None)
    for name, value in other.extra.items():
        if first.extra.setdefault(name, value) != value:
            report.add(
                "lost",
                "the parts of an object differ",
                other.place,
                f"its {name!r} is not that of the first part",
            )
