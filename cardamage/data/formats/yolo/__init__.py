"""YOLO's text files (Ultralytics, Roboflow, CVAT, LabelImg), outlines and boxes.

``data.yaml`` names the classes and the images of each split: a folder, several, or a text file that lists
them; Darknet's ``obj.data`` does the same, and a folder of ``images`` and ``labels`` with ``classes.txt``
needs neither. The labels of ``.../images/a.jpg`` are in ``.../labels/a.txt``, or beside it where there is no
``labels``. A row is ``class x y x y x y ...`` (an outline), ``class x y w h`` (a box) or ``class x y w h
score``, as shares of the image's size. Outlines whose parts are joined by lines there and back are taken
apart where the mask stays the very same. Folders are looked for where the YAML says and, as exports are
moved, below the YAML by the ends of their paths. An image without label file has no objects; a label file
without image is reported.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from ....errors import DataError
from ...annotations.report import AnnotationReport
from ..dataset import AnnotatedDataset, to_dicts
from ..registry import ReadOptions
from .layout import find_layout, has_labels
from .reading import read_yolo, read_yolo_split
from .writing import write

__all__ = ["load_yolo", "read", "recognize", "write"]


def load_yolo(
    data_yaml: str | os.PathLike[str], split: str = "train", report: AnnotationReport | None = None
) -> tuple[list[dict[str, Any]], list[str]]:
    """Load one split of a YOLO dataset.

    Args:
        data_yaml: the YAML with ``names`` and the splits, or the dataset's folder.
        split: ``"train"``, ``"val"`` (or ``"valid"``) or ``"test"``.
        report: is told what was found; by default it is logged.

    Returns:
        Dataset dicts with ``image_id`` from 1, and the class names. Boxes have no ``segmentation``.

    Raises:
        DataError: for files that can't be used, unreadable images, or a class number without name.
    """
    layout = find_layout(Path(data_yaml))
    findings = report or AnnotationReport(f"{data_yaml}#{split}")
    name = layout.split_name(split)
    dataset = read_yolo_split(layout, dict.fromkeys(layout.images(name), name), findings)
    loaded = to_dicts(dataset, report=findings)
    if report is None:
        findings.log()
    return loaded


def recognize(path: Path) -> bool:
    """Tell whether a path is a YOLO dataset: its YAML, ``obj.data``, or its folder."""
    if path.is_file() and path.suffix.lower() not in (".yaml", ".yml", ".data"):
        return False
    try:
        return has_labels(path) or bool(find_layout(path).splits)
    except (DataError, OSError):
        return False


def read(path: Path, options: ReadOptions, report: AnnotationReport) -> AnnotatedDataset:
    """Read all splits; see :func:`~cardamage.data.formats.registry.read_annotations`.

    Args:
        path: the YAML, ``obj.data``, or the dataset's folder.
        options: `classes` names the classes of a folder that has no file of them, or puts them in another
            order; `image_root` is a folder to look in first.
        report: is told what was found.

    Raises:
        DataError: as :func:`load_yolo`.
    """
    layout = find_layout(path, options.classes)
    layout.image_root = None if options.image_root is None else Path(options.image_root)
    dataset = read_yolo(layout, report)
    if options.classes is not None:
        dataset.classes = list(options.classes)
    return dataset
