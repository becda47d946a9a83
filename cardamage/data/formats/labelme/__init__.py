"""Labelme's JSON files, of versions 4 to 7.

Labelme itself is not needed. Rules of reading:

- classes are the labels, sorted by name, or the list that is given; ``__ignore__`` is left out;
- shapes of one label and one ``group_id`` are one object; shapes of different labels stay apart;
- polygon, rectangle (2 or 4 points), oriented rectangle, circle, linestrip and line (drawn as wide as asked
  for, or as the shape's own ``line_width`` says) and mask are objects; points are not, and are reported;
- the shape flag ``iscrowd`` marks a region of uncounted objects;
- flags, descriptions, groups, types of shapes and fields that Labelme doesn't know are kept in ``extra``;
- the picture is the one ``imagePath`` names (Windows separators too), or one beside the JSON with its name;
  where that is missing, or is another photograph than the one embedded in ``imageData``, the embedded one
  counts;
- a JSON without shapes is an image without objects; a picture without JSON is no part of the dataset.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ....errors import DataError
from ...annotations.report import AnnotationReport
from ..dataset import AnnotatedDataset, to_dicts
from ..registry import ReadOptions, WriteOptions, Written
from .content import read_labelme_json
from .folder import first_json_files
from .reading import read_labelme
from .writing import write_labelme

__all__ = ["load_labelme", "read", "recognize", "write"]

# JSON files looked at to recognize a folder.
_PROBES = 50


def recognize(path: Path) -> bool:
    """Tell whether a folder holds a Labelme file, or a file is one."""
    is_json = path.is_file() and path.suffix == ".json"
    paths = [str(path)] if is_json else first_json_files(path, _PROBES)
    return any(_is_labelme(name) for name in paths)


def read(path: Path, options: ReadOptions, report: AnnotationReport) -> AnnotatedDataset:
    """Read a folder of Labelme files; see :func:`.reading.read_labelme`."""
    return read_labelme(path, options, report)


def write(
    dataset: AnnotatedDataset, folder: Path, options: WriteOptions, losses: AnnotationReport
) -> Written:
    """Write a Labelme file for each picture; see :func:`.writing.write_labelme`."""
    return write_labelme(dataset, folder, options, losses)


def load_labelme(
    folder: str | os.PathLike[str],
    classes: Sequence[str] | None = None,
    line_width: float = 5.0,
    report: AnnotationReport | None = None,
) -> tuple[list[dict[str, Any]], list[str]]:
    """Load a folder of Labelme files.

    Args:
        folder: is searched with the folders below it.
        classes: their order; by default all labels, sorted by name.
        line_width: of lines and line strips, in pixels.
        report: is told what was found; by default it is logged.

    Returns:
        Dataset dicts with ``image_id`` from 1, and the class names.

    Raises:
        DataError: for a folder or file that can't be used, or a label that is not in `classes`.
    """
    findings = report or AnnotationReport(os.fspath(folder))
    dataset = read_labelme(folder, ReadOptions(classes, line_width=line_width), findings)
    dicts, names = to_dicts(dataset, report=findings)
    if report is None:
        findings.log()
    return dicts, names


def _is_labelme(path: str) -> bool:
    try:
        return read_labelme_json(path) is not None
    except DataError:
        return False
