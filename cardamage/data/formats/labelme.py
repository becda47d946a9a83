"""Labelme's JSON files, of versions 4 to 7, read into dataset dicts.

Labelme itself is not needed. Rules:

- classes are the labels, sorted by name, or the list that is given; ``__ignore__`` is left out;
- shapes of one label and one ``group_id`` are one object; shapes of different labels stay apart;
- polygon, rectangle (2 or 4 points), circle, linestrip and line (drawn as wide as asked for) and mask are
  objects; points are not, and are reported;
- the picture is the one ``imagePath`` names (Windows separators too), or one beside the JSON with its name;
  where that is missing, or is another photograph than the one embedded in ``imageData``, the embedded one
  counts;
- a JSON without shapes is an image without objects; a picture without JSON is no part of the dataset.
"""

from __future__ import annotations

import logging
import os
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...errors import DataError
from ...utils.suggest import did_you_mean
from ..annotation_report import AnnotationReport
from ..checks import check_annotation
from .labelme_picture import find_picture, picture_size
from .labelme_shapes import merged, shape_outline
from .reading import natural_key, read_json

__all__ = ["LabelmeFile", "labelme_classes", "load_labelme", "read_labelme_folder"]

logger = logging.getLogger(__name__)

IGNORED_LABEL = "__ignore__"


@dataclass
class LabelmeFile:
    """One Labelme JSON.

    Attributes:
        path: the JSON.
        content: what it holds.
        root: the dataset's folder.
    """

    path: Path
    content: dict[str, Any]
    root: Path

    @property
    def shapes(self) -> list[dict[str, Any]]:
        """The shapes as stored."""
        return self.content["shapes"]

    def place(self, index: int) -> str:
        """Name a shape in messages."""
        label = _label(self.shapes[index])
        return f"{self.path}, shape {index} ({label!r})"


def read_labelme_folder(folder: str | os.PathLike[str]) -> list[LabelmeFile]:
    """Read all Labelme files of a folder and the folders below it, in natural order of their names.

    Args:
        folder: the folder.

    Returns:
        The files; other JSON files are left out.

    Raises:
        DataError: where there is no such folder, no Labelme file in it, or one that is no JSON.
    """
    root = Path(folder)
    if root.is_file():
        raise DataError(f"The Labelme folder {root} is a file; name the folder it is in.")
    if not root.is_dir():
        raise DataError(f"The Labelme folder {root} does not exist.")
    paths = [
        p for p in root.rglob("*.json") if not any(part.startswith(".") for part in p.relative_to(root).parts)
    ]
    paths.sort(key=lambda path: natural_key(path.relative_to(root).as_posix()))
    files, others = [], []
    for path in paths:
        content = read_json(path, "Labelme file")
        if _is_labelme(content):
            files.append(LabelmeFile(path, content, root))
        else:
            others.append(path)
    if not files:
        raise DataError(
            f"The folder {root} holds no Labelme file (a .json with 'shapes'); annotate its photos first."
        )
    if others:
        logger.info("%s: %d JSON files are not Labelme's and are left out.", root, len(others))
    return files


def _is_labelme(content: Any) -> bool:
    shapes = content.get("shapes") if isinstance(content, dict) else None
    return isinstance(shapes, list) and all(isinstance(shape, dict) for shape in shapes)


def labelme_classes(files: Sequence[LabelmeFile]) -> list[str]:
    """Return all labels in use, sorted by name."""
    return sorted({_label(shape) for file in files for shape in file.shapes} - {IGNORED_LABEL, ""})


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
    files = read_labelme_folder(folder)
    names = list(classes) if classes is not None else labelme_classes(files)
    findings = report or AnnotationReport(os.fspath(folder))
    ids = {name: index for index, name in enumerate(names)}
    dicts = [_record(file, i, ids, line_width, findings) for i, file in enumerate(files, start=1)]
    if report is None:
        findings.log()
    return dicts, names


def _record(
    file: LabelmeFile, image_id: int, ids: dict[str, int], line_width: float, report: AnnotationReport
) -> dict[str, Any]:
    picture, embedded = find_picture(file.path, file.content, file.root)
    height, width = picture_size(file.path, file.content, picture)
    record: dict[str, Any] = {
        "file_name": str(picture),
        "height": height,
        "width": width,
        "image_id": image_id,
        "annotations": list(_annotations(file, (height, width), ids, line_width, report)),
    }
    if embedded:
        record["image_bytes_from"] = {"labelme_json": str(file.path)}
    return record


def _annotations(
    file: LabelmeFile, size: tuple[int, int], ids: dict[str, int], line_width: float, report: AnnotationReport
) -> Iterator[dict[str, Any]]:
    for label, indices in _objects(file):
        if not label:
            report.read += 1
            report.add("dropped", "its label is empty", file.place(indices[0]))
            continue
        category = _category(file, indices[0], label, ids)
        usable = []
        for index in indices:
            outline = shape_outline(file.shapes[index], size, line_width, file.place(index))
            if outline.refused:
                report.read += 1
                report.add("dropped", outline.refused, file.place(index))
                continue
            checked = check_annotation(outline.raw(), *size, report)
            if checked is not None:
                usable.append(checked)
        if usable:
            yield {**merged(usable, size), "category_id": category}


def _objects(file: LabelmeFile) -> list[tuple[str, list[int]]]:
    """Labels and shape indices of each object, in the order of their first shapes."""
    groups: dict[tuple[str, Any], list[int]] = defaultdict(list)
    for index, shape in enumerate(file.shapes):
        label, group = _label(shape), shape.get("group_id")
        if label != IGNORED_LABEL:
            grouped = label and group is not None
            groups[label, ("group", str(group)) if grouped else ("alone", index)].append(index)
    return [(label, indices) for (label, _), indices in groups.items()]


def _label(shape: dict[str, Any]) -> str:
    label = shape.get("label")
    return "" if label is None else str(label).strip()


def _category(file: LabelmeFile, index: int, label: str, ids: dict[str, int]) -> int:
    if label not in ids:
        hint = did_you_mean(label, ids) or f" ({', '.join(ids)}); correct it, or add the class."
        raise DataError(f"{file.place(index)}: the label is not among the classes{hint}")
    return ids[label]
