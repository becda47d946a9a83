"""VIA files found in folders, and read as one dataset of several splits."""

from __future__ import annotations

import os
from pathlib import Path

from ....errors import DataError
from ...annotations.report import AnnotationReport
from ..dataset import AnnotatedDataset
from ..registry import ReadOptions
from ..shared.json_opening import json_files
from ..shared.uniting import own_folders, read_parts, splits_of, unique_images
from .file import is_via
from .reading import read_via

__all__ = ["read", "recognize"]

# Of several files in one folder this one counts: it is VIA's own name for its export.
_EXPORT = "via_region_data.json"


def recognize(path: Path) -> bool:
    """Tell whether a path is a VIA file, or a folder that holds some."""
    return any(_via_files(path).values()) if path.is_dir() else is_via(path)


def read(path: Path, options: ReadOptions, report: AnnotationReport) -> AnnotatedDataset:
    """Read a VIA file, or those of a folder as one dataset.

    A folder may hold a file, or folders that are splits with a file each.

    Args:
        path: the file or folder.
        options: `classes`, `image_root`, `attribute` and `line_width` count.
        report: is told of regions that are no objects, and of pictures that are listed twice.

    Raises:
        DataError: for a file that can't be used, a folder with none or several, or missing pictures.
    """
    files = _chosen_files(path) if path.is_dir() else {path: ""}

    def read_file(file: Path) -> tuple[AnnotatedDataset, Path]:
        return read_via(
            file, report, options.image_root, options.classes, options.attribute, options.line_width
        )

    parts = read_parts(path, files, read_file)
    classes = options.classes or sorted({name for part in parts for name in part.classes})
    extra = dict(parts[0].extra)
    differing = {s: part.extra for s, part in zip(files.values(), parts, strict=True) if part.extra != extra}
    if differing:
        extra["splits"] = differing
    return AnnotatedDataset(os.fspath(path), "via", list(classes), unique_images(parts, report), extra)


def _via_files(folder: Path) -> dict[Path, list[Path]]:
    """The VIA files in a folder and in those right below it."""
    return {
        place: [path for path in json_files(place, (".json", ".csv")) if is_via(path)]
        for place in own_folders(folder)
    }


def _chosen_files(folder: Path) -> dict[Path, str]:
    chosen: list[Path] = []
    for place, files in _via_files(folder).items():
        exports = [path for path in files if path.name == _EXPORT]
        if len(exports or files) > 1:
            names = ", ".join(path.name for path in files)
            raise DataError(f"The folder {place} holds several VIA files ({names}); name one of them.")
        chosen += exports or files
    if not chosen:
        raise DataError(f"{folder} holds no VIA file; name the file, or the folder that it is in.")
    return splits_of(chosen, folder)
