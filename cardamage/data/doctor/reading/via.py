"""VGG Image Annotator's JSON, projects and csv, of versions 1 and 2, with their mistakes."""

from __future__ import annotations

import csv
import io
import json
import re
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ....errors import DataError
from ....utils.files import open_regular
from ...annotations import outlines
from ...formats.pictures.finding import ImageFolder
from ...formats.shared.text_files import read_json, read_text
from ...registered.classes import VEHIDE_CLASSES
from ..model import Part, Picture, Shape
from ..names import trimmed
from .values import read_or_note, ring_of

__all__ = ["is_via_csv", "parsed_cell", "read_via", "via_entries"]

_CSV_HEAD = 4096
_LINE_WIDTH = 5.0
_LIKELY = ("class", "label", "name", "category", "type", "damage")
_UNDEFINED = re.compile(r"([:,\[]\s*)undefined\b")


@dataclass
class _Entry:
    """A picture of the file with its regions and their indices."""

    filename: str
    regions: list[tuple[int, dict[str, Any]]] = field(default_factory=list)


def via_entries(content: Any) -> list[Any] | None:
    """Return the entries of a VIA JSON or project; None for other content."""
    if not isinstance(content, dict):
        return None
    inner = content.get("_via_img_metadata", content)
    entries = list(inner.values()) if isinstance(inner, dict) else inner if isinstance(inner, list) else []
    good = [entry for entry in entries if isinstance(entry, dict) and "filename" in entry]
    if good and any("regions" in entry for entry in good):
        return entries
    return _vehide_entries(inner) if isinstance(inner, dict) else None


def _vehide_entries(content: dict[str, Any]) -> list[Any] | None:
    """VehiDE's entries as VIA has them; None for other content."""
    found = []
    vehide = False
    for key, entry in content.items():
        regions = entry.get("regions") if isinstance(entry, dict) else None
        if not isinstance(regions, list):
            return None
        vehide |= any(isinstance(region, dict) and "all_x" in region for region in regions)
        found.append({"filename": str(entry.get("name") or key), "regions": [_as_via(r) for r in regions]})
    return found if vehide else None


def _as_via(region: Any) -> Any:
    if not isinstance(region, dict):
        return region
    x, y, label = region.get("all_x"), region.get("all_y"), region.get("class")
    return {
        "shape_attributes": {"name": "polygon", "all_points_x": x, "all_points_y": y},
        "region_attributes": {"class": VEHIDE_CLASSES.get(str(label).strip(), label)},
    }


def is_via_csv(path: Path) -> bool:
    """Tell by its head whether a csv is VIA's."""
    try:
        with open_regular(path) as file:
            return b"region_shape_attributes" in file.read(_CSV_HEAD)
    except (OSError, ValueError):
        return False


def read_via(path: Path, image_root: Path | None = None) -> Part:
    """Read a VIA file.

    Args:
        path: the file.
        image_root: folder of its images; by default one of the usual places around it.
    """
    part = Part(str(path), "via", states_classes=False)
    entries = list(_csv_entries(path, part) if path.suffix.lower() == ".csv" else _json_entries(path, part))
    root = image_root if image_root is not None and image_root.is_dir() else None
    records = [{"filename": entry.filename} for entry in entries]
    folder = ImageFolder.around(path, root, records)
    key = _class_key(entries)
    for number, (entry, record) in enumerate(zip(entries, records, strict=True)):
        try:
            source = folder.path_of(record)
        except DataError as error:
            part.note("D115", path, number, str(error))
            source = ""
        picture = Picture(str(path), number, entry.filename, source)
        shapes = (_shape(region, index, key, entry, part) for index, region in entry.regions)
        picture.shapes = [shape for shape in shapes if shape is not None]
        part.pictures.append(picture)
    part.classes = sorted({shape.label for shape in part.shapes if shape.label})
    return part


def _json_entries(path: Path, part: Part) -> Iterator[_Entry]:
    content = read_or_note(part, path, read_json, "VIA file")
    entries = via_entries(content)
    if entries is not None and not any("filename" in entry for entry in _dicts(content)):
        part.format = "vehide"
    if entries is None:
        if content is not None:
            part.note("D001", path, text="is no VIA file: it has no images with 'filename' and 'regions'")
        return
    count = 0
    for number, raw in enumerate(entries):
        if not isinstance(raw, dict) or not isinstance(raw.get("filename"), str):
            part.note("D002", path, number, "an image has no 'filename'")
            continue
        entry = _Entry(raw["filename"])
        regions = raw.get("regions") or []
        listed = list(regions.values()) if isinstance(regions, dict) else regions
        for region in listed if isinstance(listed, list) else []:
            if isinstance(region, dict):
                entry.regions.append((count, region))
            else:
                part.note("D002", path, count, f"{raw['filename']}: a region is no object")
            count += 1
        yield entry


def _dicts(content: Any) -> Iterator[dict[str, Any]]:
    inner = content.get("_via_img_metadata", content)
    values = inner.values() if isinstance(inner, dict) else inner
    return (value for value in values if isinstance(value, dict))


def _csv_entries(path: Path, part: Part) -> Iterator[_Entry]:
    text = read_or_note(part, path, read_text, "VIA csv")
    if text is None:
        return
    head = text.partition("\n")[0]
    if ";" in head and "," not in head:
        part.note("D001", path, text="its columns are divided by ';'; save it with commas")
        return
    csv.field_size_limit(min(sys.maxsize, 2**31 - 1))
    entries: dict[str, _Entry] = {}
    repaired = 0
    try:
        for line, row in enumerate(csv.DictReader(io.StringIO(text)), start=2):
            name = row.get("filename") or row.get("#filename")
            if not name:
                part.note("D002", path, line, "the row names no file")
                continue
            entry = entries.setdefault(name, _Entry(name))
            region: dict[str, Any] = {}
            for key, column in _COLUMNS.items():
                value, odd = parsed_cell(row.get(column) or "{}")
                repaired += odd
                if value is None:
                    part.note("D002", path, line, f"{name}: {column} is not JSON")
                region[key] = value or {}
            if region["shape_attributes"]:
                entry.regions.append((line, region))
    except csv.Error as error:
        part.note("D001", path, text=f"is no csv ({error})")
    if repaired:
        part.note("D004", path, text=f'{repaired} cells hold "undefined", which is not JSON')
    yield from entries.values()


_COLUMNS = {"shape_attributes": "region_shape_attributes", "region_attributes": "region_attributes"}


def parsed_cell(text: str) -> tuple[Any, bool]:
    """Return what the JSON in a csv's cell holds (None: nothing), and whether it had to be repaired."""
    for candidate, repaired in ((text, False), (_UNDEFINED.sub(r"\1null", text), True)):
        try:
            value = json.loads(candidate)
            return (value, repaired) if isinstance(value, dict) else (None, False)
        except (ValueError, RecursionError):
            continue
    return None, False


def _attributes(region: dict[str, Any], key: str) -> dict[str, Any]:
    value = region.get(key)
    return value if isinstance(value, dict) else {}


def _class_key(entries: list[_Entry]) -> str:
    filled: Counter[str] = Counter()
    for entry in entries:
        for _, region in entry.regions:
            attributes = _attributes(region, "region_attributes")
            filled.update(key for key, value in attributes.items() if value)
    rank = {key: i for i, key in enumerate(reversed(_LIKELY), start=1)}
    return max(filled, key=lambda key: (filled[key], rank.get(key, 0), key), default="name")


def _shape(region: dict[str, Any], index: int, key: str, entry: _Entry, part: Part) -> Shape | None:
    value = _attributes(region, "region_attributes").get(key, "")
    if isinstance(value, dict):
        value = min((str(name) for name, ticked in value.items() if ticked), default="")
    label = str(value or "").strip()
    if trimmed(label) != str(value or ""):
        part.note("D414", part.source, index, repr(value))
    attributes = _attributes(region, "shape_attributes")
    kind = str(attributes.get("name") or "")
    shape = Shape(part.source, index, label or None, by_hand=kind == "rect", line=kind == "polyline")
    if not label:
        part.note("D408", part.source, index, entry.filename)
    try:
        rings = _outline(attributes, kind)
    except (KeyError, TypeError, ValueError, OverflowError):
        part.note("D002", part.source, index, f"{entry.filename}: its {kind or 'shape'} can't be read")
        return None
    if rings is None:
        part.note("D220", part.source, index, f"{entry.filename}: its shape {kind!r} has no area")
        return None
    found = [ring_of(ring) for ring in rings]
    if any(ring is None for ring in found):
        part.note("D002", part.source, index, f"{entry.filename}: its points are not x, y numbers")
        return None
    shape.rings = [ring for ring in found if ring is not None]
    return shape


def _outline(shape: dict[str, Any], kind: str) -> list[Any] | None:
    if kind in ("polygon", "polyline"):
        points = np.stack([shape["all_points_x"], shape["all_points_y"]], axis=1).astype(np.float64)
        return [points] if kind == "polygon" else list(outlines.stroke(points, _LINE_WIDTH))
    if kind == "rect":
        x, y = float(shape["x"]), float(shape["y"])
        return [outlines.rectangle((x, y), (x + float(shape["width"]), y + float(shape["height"])))]
    center = (float(shape.get("cx", 0)), float(shape.get("cy", 0)))
    if kind == "circle":
        return [outlines.circle(center, float(shape["r"]))]
    if kind == "ellipse":
        radii = (float(shape["rx"]), float(shape["ry"]))
        return [outlines.ellipse(center, *radii, float(shape.get("theta", 0)))]
    return None
