"""VGG Image Annotator 2: its JSON export and its project files, read into dataset dicts.

The class of a region is one of its attributes: the one asked for, or the one that most regions fill in. A
region without a class, and a point, is left out and reported. VIA does not store image sizes, so the images
must be there.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import DataError
from ...utils.suggest import did_you_mean
from .. import outlines
from ..annotation_report import AnnotationReport
from ..checks import RawAnnotation, check_annotation
from ..image_checks import missing_message
from ..image_io import image_size
from .image_files import ImageFolder
from .reading import read_json

__all__ = ["load_via"]

# For attributes that as many regions fill in, the first of these is taken.
_LIKELY = ("class", "label", "name", "category", "type", "damage")


def load_via(
    json_file: str | os.PathLike[str],
    image_root: str | os.PathLike[str] | None = None,
    classes: Sequence[str] | None = None,
    attribute: str | None = None,
    line_width: float = 5.0,
    report: AnnotationReport | None = None,
) -> tuple[list[dict[str, Any]], list[str]]:
    """Load a VIA 2 JSON export or project.

    Args:
        json_file: the file.
        image_root: folder of the images; by default one of the usual places around the file.
        classes: their order; by default all that occur, sorted by name.
        attribute: region attribute that holds the class.
        line_width: of polylines, in pixels.
        report: is told what was found; by default it is logged.

    Returns:
        Dataset dicts with ``image_id`` from 1, and the class names.

    Raises:
        DataError: for a file that can't be used, missing images, or a class that is not in `classes`.
    """
    name = os.fspath(json_file)
    entries = _entries(name)
    folder = ImageFolder.around(Path(name), image_root, entries)
    paths = [folder.path_of(entry) for entry in entries]
    missing = [path for path in paths if not os.path.isfile(path)]
    if missing:
        raise DataError(missing_message(missing, len(paths)))
    key = attribute or _class_attribute(entries)
    found = {label for entry in entries for region in _regions(entry) if (label := _label(region, key))}
    names = list(classes) if classes is not None else sorted(found)
    ids = {label: index for index, label in enumerate(names)}
    findings = report or AnnotationReport(name)
    dicts = []
    for number, (entry, path) in enumerate(zip(entries, paths, strict=True), start=1):
        height, width = image_size(path)
        record: dict[str, Any] = {"file_name": path, "height": height, "width": width, "image_id": number}
        place = f"{name}, {entry['filename']}"
        record["annotations"] = list(_annotations(entry, record, place, key, ids, line_width, findings))
        dicts.append(record)
    if report is None:
        findings.log()
    return dicts, names


def _entries(name: str) -> list[dict[str, Any]]:
    content = read_json(name, "VIA file")
    if isinstance(content, dict):
        content = content.get("_via_img_metadata", content)
    entries = list(content.values()) if isinstance(content, dict) else []
    if not entries or not all(_is_entry(entry) for entry in entries):
        raise DataError(f"{name} is no VIA 2 file: it has no images with 'filename' and 'regions'.")
    return entries


def _is_entry(entry: Any) -> bool:
    if not isinstance(entry, dict) or not isinstance(entry.get("filename"), str):
        return False
    regions = entry.get("regions")
    if not isinstance(regions, (dict, list)):
        return False
    return all(
        isinstance(region, dict)
        and isinstance(region.get("shape_attributes", {}), dict)
        and isinstance(region.get("region_attributes", {}), dict)
        for region in (regions.values() if isinstance(regions, dict) else regions)
    )


def _regions(entry: dict[str, Any]) -> list[dict[str, Any]]:
    regions = entry["regions"]
    return list(regions.values()) if isinstance(regions, dict) else list(regions)


def _class_attribute(entries: list[dict[str, Any]]) -> str:
    filled: Counter[str] = Counter()
    for entry in entries:
        for region in _regions(entry):
            filled.update(key for key, value in region.get("region_attributes", {}).items() if value)
    rank = {key: i for i, key in enumerate(reversed(_LIKELY), start=1)}
    return max(filled, key=lambda key: (filled[key], rank.get(key, 0), key), default="name")


def _label(region: dict[str, Any], key: str) -> str:
    """The class of a region; of ticked boxes the first by name."""
    value = region.get("region_attributes", {}).get(key, "")
    if isinstance(value, dict):
        value = min((str(name) for name, ticked in value.items() if ticked), default="")
    return str(value).strip()


def _annotations(
    entry: dict[str, Any],
    record: dict[str, Any],
    place: str,
    key: str,
    ids: dict[str, int],
    line_width: float,
    report: AnnotationReport,
) -> Iterator[dict[str, Any]]:
    for index, region in enumerate(_regions(entry)):
        label = _label(region, key)
        where = f"{place}, region {index} ({label!r})"
        polygons = _polygons(region.get("shape_attributes", {}), line_width)
        if not label or polygons is None:
            report.read += 1
            kind = region.get("shape_attributes", {}).get("name")
            reason = f"its shape {kind!r} has no area" if label else f"its attribute {key!r} is empty"
            report.add("dropped", reason, where)
            continue
        if label not in ids:
            raise DataError(f"{where}: its class is not among the classes{did_you_mean(label, ids) or '.'}")
        checked = check_annotation(
            RawAnnotation(where, polygons=polygons), record["height"], record["width"], report
        )
        if checked is not None:
            yield {**checked, "category_id": ids[label]}


def _polygons(shape: dict[str, Any], line_width: float) -> list[Any] | None:
    """The outline of a region; None for points and for what can't be read."""
    try:
        kind = shape.get("name")
        if kind in ("polygon", "polyline"):
            points = np.stack([shape["all_points_x"], shape["all_points_y"]], axis=1).astype(np.float64)
            return [points] if kind == "polygon" else list(outlines.stroke(points, line_width))
        if kind == "rect":
            x, y = float(shape["x"]), float(shape["y"])
            return [outlines.rectangle((x, y), (x + float(shape["width"]), y + float(shape["height"])))]
        if kind == "circle":
            return [outlines.circle((shape["cx"], shape["cy"]), float(shape["r"]))]
        if kind == "ellipse":
            center = (float(shape["cx"]), float(shape["cy"]))
            return [
                outlines.ellipse(center, float(shape["rx"]), float(shape["ry"]), float(shape.get("theta", 0)))
            ]
    except (KeyError, TypeError, ValueError):
        return None
    return None
