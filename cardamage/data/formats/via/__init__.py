"""VGG Image Annotator, versions 1 and 2, as found in practice.

Understood are the JSON exports with regions as a list (2) or an object (1), project files, and csv, also with
the ``undefined`` that VIA writes into it. Rules beyond VIA's own:

- the class of a region is the value of one of its attributes (the one asked for, or the one that most regions
  fill in), a box ticked in it, or an attribute of its own that is ticked: see :mod:`.classes`;
- regions of one picture with the same class and ``group_id`` are parts of one object;
- a region without a class, and a point, is left out and reported;
- VIA does not store image sizes, so the pictures must be there.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ....errors import DataError
from ...annotations.report import AnnotationReport
from ..dataset import AnnotatedDataset, to_dicts
from ..registry import ReadOptions
from ..shared.json_opening import json_files
from ..shared.listing import folders_in
from ..shared.uniting import name_from_one_folder, splits_of, unique_images
from .file import is_via
from .reading import read_via
from .writing import write

__all__ = ["load_via", "read", "recognize", "write"]

# Of several files in one folder this one counts: it is VIA's own name for its export.
_EXPORT = "via_region_data.json"


def load_via(
    json_file: str | os.PathLike[str],
    image_root: str | os.PathLike[str] | None = None,
    classes: Sequence[str] | None = None,
    attribute: str | None = None,
    line_width: float = 5.0,
    report: AnnotationReport | None = None,
) -> tuple[list[dict[str, Any]], list[str]]:
    """Load a VIA export or project.

    Args:
        json_file: the file; JSON or csv.
        image_root: folder of the images; by default one of the usual places around the file.
        classes: their order; by default all that occur, sorted by name.
        attribute: region attribute whose value is the class.
        line_width: of polylines, in pixels.
        report: is told what was found; by default it is logged.

    Returns:
        Dataset dicts with ``image_id`` from 1, and the class names.

    Raises:
        DataError: for a file that can't be used, missing images, or a class that is not in `classes`.
    """
    findings = report or AnnotationReport(os.fspath(json_file))
    dataset, _ = read_via(json_file, findings, image_root, classes, attribute, line_width)
    found = to_dicts(dataset, report=findings)
    if report is None:
        findings.log()
    return found


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
    parts: list[AnnotatedDataset] = []
    roots: list[Path] = []
    for file, split in files.items():
        part, root = read_via(
            file, report, options.image_root, options.classes, options.attribute, options.line_width
        )
        for image in part.images:
            image.split = split
        parts.append(part)
        roots.append(root)
    name_from_one_folder(path, parts, roots)
    classes = options.classes or sorted({name for part in parts for name in part.classes})
    extra = dict(parts[0].extra)
    differing = {s: part.extra for s, part in zip(files.values(), parts, strict=True) if part.extra != extra}
    if differing:
        extra["splits"] = differing
    return AnnotatedDataset(os.fspath(path), "via", list(classes), unique_images(parts, report), extra)


def _via_files(folder: Path) -> dict[Path, list[Path]]:
    """The VIA files in a folder and in those right below it."""
    try:
        below = folders_in(folder)
    except OSError:
        return {}
    places = (folder, *below)
    return {place: [p for p in json_files(place, (".json", ".csv")) if is_via(p)] for place in places}


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
