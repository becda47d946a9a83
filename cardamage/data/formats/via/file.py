"""VIA's files taken apart: JSON of versions 1 and 2, projects, and csv."""

from __future__ import annotations

import csv
import io
import json
import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ....errors import DataError
from ..shared.json_opening import json_opening
from ..shared.text_files import read_json, read_text
from ..shared.values import as_id

__all__ = ["CSV_COLUMNS", "ViaEntry", "ViaFile", "is_via", "read_via_file"]

CSV_COLUMNS = (
    "filename",
    "file_size",
    "file_attributes",
    "region_count",
    "region_id",
    "region_shape_attributes",
    "region_attributes",
)
_NEEDED = ("filename", "region_shape_attributes", "region_attributes")
_MOST_CHARACTERS = 1 << 28
# A string, which stays, or the word that JSON does not know.
_UNDEFINED = re.compile(r'("(?:[^"\\]|\\.)*")|\bundefined\b')


@dataclass
class ViaEntry:
    """One picture.

    Attributes:
        filename: as stored.
        shapes: ``shape_attributes`` of each region.
        attributes: ``region_attributes`` of each region.
        extra: ``file_attributes`` and what else is stored of it.
    """

    filename: str
    shapes: list[dict[str, Any]] = field(default_factory=list)
    attributes: list[dict[str, Any]] = field(default_factory=list)
    extra: dict[str, Any] = field(default_factory=dict)


@dataclass
class ViaFile:
    """What a file holds.

    Attributes:
        entries: the pictures, in the file's order.
        settings: ``_via_settings`` of a project.
        attributes: ``_via_attributes`` of a project.
    """

    entries: list[ViaEntry]
    settings: dict[str, Any] = field(default_factory=dict)
    attributes: dict[str, Any] = field(default_factory=dict)


def is_via(path: Path) -> bool:
    """Tell by its beginning whether a file is one of VIA 1 or 2."""
    suffix = path.suffix.lower()
    if suffix == ".csv" and path.is_file():
        with path.open("rb") as file:
            return b"region_shape_attributes" in file.readline(4096)
    if suffix != ".json" or not path.is_file():
        return False
    keys = json_opening(path)
    if "_via_img_metadata" in keys:
        return True
    first = next(iter(keys.values()), set())
    return "filename" in first and not first.isdisjoint({"regions", "size", "fileref"})


def read_via_file(path: str | os.PathLike[str]) -> ViaFile:
    """Read a VIA file.

    Raises:
        DataError: for a file that can't be read, or is none of VIA's with annotations.
    """
    name = os.fspath(path)
    return _read_csv(name) if name.lower().endswith(".csv") else _read_json(name)


def _read_json(name: str) -> ViaFile:
    content = read_json(name, "VIA file")
    project = content if isinstance(content, dict) and "_via_img_metadata" in content else {}
    if project:
        content = project["_via_img_metadata"]
    stored = list(content.values()) if isinstance(content, dict) else []
    entries = [_entry(value) for value in stored]
    if not entries or None in entries:
        raise DataError(f"{name} is no VIA file: it has no images with 'filename' and 'regions'.")
    found = ViaFile([entry for entry in entries if entry is not None])
    for key in ("settings", "attributes"):
        if isinstance(project.get(f"_via_{key}"), dict):
            setattr(found, key, project[f"_via_{key}"])
    return found


def _entry(stored: Any) -> ViaEntry | None:
    if not isinstance(stored, dict) or not isinstance(stored.get("filename"), str):
        return None
    regions = stored.get("regions")
    if not isinstance(regions, (dict, list)):
        return None
    entry = ViaEntry(stored["filename"])
    for region in regions.values() if isinstance(regions, dict) else regions:
        if not isinstance(region, dict):
            return None
        shape, attributes = (region.get(f"{key}_attributes", {}) for key in ("shape", "region"))
        if not isinstance(shape, dict) or not isinstance(attributes, dict):
            return None
        entry.shapes.append(shape)
        entry.attributes.append(attributes)
    known = ("filename", "size", "regions")
    entry.extra = {key: value for key, value in stored.items() if key not in known and value}
    return entry


def _read_csv(name: str) -> ViaFile:
    text = read_text(name, "VIA file")
    if len(text) > _MOST_CHARACTERS:
        raise DataError(f"{name} is larger than any VIA file; name another file.")
    limit = csv.field_size_limit(_MOST_CHARACTERS)
    entries: dict[tuple[str, str], ViaEntry] = {}
    try:
        rows = csv.DictReader(io.StringIO(text.removeprefix("#"), newline=""))
        if not set(_NEEDED) <= set(rows.fieldnames or ()):
            raise DataError(f"{name} is no VIA file: it has no columns {', '.join(_NEEDED)}.")
        for row in rows:
            _add_row(row, f"{name}, line {rows.line_num}", entries)
    except csv.Error as error:
        raise DataError(f"{name} can't be read as csv: {error}; export it again.") from None
    finally:
        csv.field_size_limit(limit)
    if not entries:
        raise DataError(f"{name} is no VIA file: it has no images with 'filename' and 'regions'.")
    return ViaFile(list(entries.values()))


def _add_row(row: dict[str, Any], place: str, entries: dict[tuple[str, str], ViaEntry]) -> None:
    filename = row["filename"]
    if not filename:
        raise DataError(f"{place} names no picture; export it again.")
    key = (filename, row.get("file_size") or "")
    if key not in entries:
        entries[key] = ViaEntry(filename)
        if stored := _object(row.get("file_attributes"), place):
            entries[key].extra["file_attributes"] = stored
    shape = _object(row["region_shape_attributes"], place)
    # A picture without regions has a line as well.
    if shape or as_id(row.get("region_count")) != 0:
        entries[key].shapes.append(shape)
        entries[key].attributes.append(_object(row["region_attributes"], place))


def _object(text: str | None, place: str) -> dict[str, Any]:
    """A field's JSON. What VIA did not know, it writes as ``undefined``: that is left out."""
    clean = (
        _UNDEFINED.sub(lambda match: match.group(1) or "null", text) if text and "undefined" in text else text
    )
    try:
        value = json.loads(clean or "{}")
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise DataError(f"{place} holds what is no JSON object; export it again.")
    return value if clean is text else {key: one for key, one in value.items() if one is not None}
