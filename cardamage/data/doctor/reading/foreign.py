"""Annotations in formats that are not read, told by name so that a person knows what to export again."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ....utils.files import open_regular
from ..model import Part
from .values import below

__all__ = ["foreign_json", "names_of", "note_foreign_files"]

_HEAD = 4096
_ARCHIVES = (".zip", ".7z", ".rar", ".tar", ".gz", ".tgz", ".bz2", ".xz")
_PACKED = "an archive"
_SUFFIXES = (".xml", ".tfrecord", ".tfrecords", ".record", ".parquet", *_ARCHIVES)


def foreign_json(content: Any) -> str | None:
    """Name the format of a JSON that is none of those that are read; None for what looks like no annotations.

    Args:
        content: of the file.
    """
    if isinstance(content, list):
        return _foreign_list([entry for entry in content[:20] if isinstance(entry, dict)])
    if not isinstance(content, dict):
        return None
    keys = content.keys()
    if {"project", "metadata", "file"} <= keys:
        return "VIA 3 (export it from VIA 2, or as COCO)"
    if {"items", "categories"} <= keys:
        return "Datumaro"
    if {"objects", "size"} <= keys:
        return "Supervisely"
    if "visitedAssets" in keys or {"assets", "tags"} <= keys:
        return "VoTT"
    values = [value for value in list(content.values())[:20] if isinstance(value, dict)]
    return "SuperAnnotate" if any("instances" in value for value in values) else None


def _foreign_list(entries: list[dict[str, Any]]) -> str | None:
    if any({"image_id", "category_id"} <= entry.keys() for entry in entries):
        return "COCO's results (detections of a model, without images and categories)"
    if any("data" in entry and {"annotations", "completions"} & entry.keys() for entry in entries):
        return "Label Studio"
    if any({"image", "annotations"} <= entry.keys() for entry in entries):
        return "CreateML"
    return None


def note_foreign_files(folder: Path, part: Part, known: Iterable[tuple[Path, str]]) -> None:
    """Note what a folder holds in other formats, each format once (D005).

    Args:
        folder: is searched with those below it.
        part: is told.
        known: JSON files with their formats, which are found by what they hold.
    """
    found: dict[str, list[str]] = defaultdict(list)
    for path, name in known:
        found[name].append(str(path))
    for path in below(folder, (*_SUFFIXES, ".csv")):
        kind = _kind(path)
        if kind is not None:
            found[kind].append(str(path))
    for kind, files in found.items():
        count = "a file" if len(files) == 1 else f"{len(files)} files"
        text = f"{count} to be unpacked first" if kind == _PACKED else f"{count} of {kind}"
        part.note("D005", files[0], text=text, others=files[1:])


def _kind(path: Path) -> str | None:
    suffix = path.suffix.lower()
    if suffix in _ARCHIVES:
        return _PACKED
    if suffix not in (".xml", ".csv"):
        return suffix.lstrip(".").capitalize()
    try:
        with open_regular(path) as file:
            head = file.read(_HEAD)
    except (OSError, ValueError):
        return None
    return _csv_kind(head) if suffix == ".csv" else _xml_kind(head)


def _csv_kind(head: bytes) -> str | None:
    columns = {word.strip().strip(b"\"'").lower() for word in head.split(b"\n")[0].split(b",")}
    return "a csv of boxes" if {b"filename", b"xmin", b"ymin"} <= columns else None


def _xml_kind(head: bytes) -> str | None:
    if b"<annotations" in head:
        return "CVAT's XML"
    if b"<annotation" in head:
        return "Pascal VOC's XML" if b"<bndbox" in head else "XML of Pascal VOC or LabelMe"
    return None


def names_of(part: Part) -> str:
    """Say in a few words which formats were noted and where; empty where none was."""
    texts = [f"{hit.text}, such as {os.path.basename(hit.file)}" for hit in part.notes.get("D005", ())]
    return "; ".join(texts)
