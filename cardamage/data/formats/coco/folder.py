"""COCO files found in folders, as tools lay them out, and read as one dataset of several splits."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ....errors import DataError
from ...annotations.report import AnnotationReport
from ..dataset import AnnotatedDataset
from ..registry import ReadOptions
from ..shared.json_opening import json_files, json_opening
from ..shared.uniting import own_folders, read_parts, splits_of, unique_images
from .reading import read_coco_file

__all__ = ["coco_files", "is_coco", "read", "recognize"]

_OWN_EXTRA = ("category_ids", "categories")


def recognize(path: Path) -> bool:
    """Tell whether a path is a COCO file, or a folder that holds some."""
    return bool(coco_files(path)) if path.is_dir() else is_coco(path)


def is_coco(path: Path) -> bool:
    """Tell by its beginning whether a file is COCO's JSON."""
    if path.suffix.lower() != ".json" or not path.is_file():
        return False
    keys = json_opening(path)
    if "shapes" in keys or any(key.startswith("_via") for key in keys):
        return False
    images, annotations = keys.get("images", set()), keys.get("annotations", set())
    return bool(
        images & {"file_name", "path", "coco_url"}
        or annotations & {"image_id", "category_id"}
        or {"images", "categories"} <= keys.keys()
    )


def coco_files(folder: Path) -> dict[Path, str]:
    """Find the COCO files of a dataset.

    Looked for in the folder itself and in those right below it; where a folder holds ``instances_*.json``,
    its other files (captions, keypoints) are passed over.

    Args:
        folder: such as that of Roboflow's ``train``, ``valid`` and ``test``, or one with ``annotations``.

    Returns:
        The split of each file, which is its folder's name or its own; empty where the name says nothing.
    """
    found: list[Path] = []
    for place in own_folders(folder):
        files = [path for path in json_files(place) if is_coco(path)]
        instances = [path for path in files if path.name.startswith("instances_")]
        found += instances or files
    return splits_of(found, folder)


def read(path: Path, options: ReadOptions, report: AnnotationReport) -> AnnotatedDataset:
    """Read a COCO file, or those of a folder as one dataset.

    Classes are united by their names, whatever their ids. Images are named from the one folder that holds
    them all.

    Args:
        path: the file or folder.
        options: `classes` and `image_root` count.
        report: is told where the files disagree, and of pictures that are listed twice.

    Raises:
        DataError: for a file that can't be used, a folder without any, or a picture of two files.
    """
    files = coco_files(path) if path.is_dir() else {path: ""}
    if not files:
        raise DataError(f"{path} holds no COCO file; name the file, or the folder that it is in.")
    parts = read_parts(path, files, lambda file: read_coco_file(file, options.image_root))
    classes = list(options.classes) if options.classes is not None else _united(parts, report)
    images = unique_images(parts, report)
    return AnnotatedDataset(
        os.fspath(path), "coco", classes, images, _united_extra(parts, list(files.values()))
    )


def _united(parts: Sequence[AnnotatedDataset], report: AnnotationReport) -> list[str]:
    """All classes; those of the first file come first."""
    first, *others = parts
    ids = _ids(first)
    classes = list(first.classes)
    for part in others:
        own = _ids(part)
        classes += [name for name in part.classes if name not in classes]
        for one, two, at in ((ids, own, part), (own, ids, first)):
            lacking = ", ".join(name for name in one if name not in two)
            if lacking:
                report.add("kept", "a file lacks classes of another", at.source, f"it has no class {lacking}")
        if any(own[name] != ids[name] for name in own.keys() & ids.keys()):
            reason = "its category ids are not those of the first file, so classes go by their names"
            report.add("kept", reason, part.source)
    return classes


def _ids(part: AnnotatedDataset) -> dict[str, int]:
    return dict(zip(part.classes, part.extra["category_ids"], strict=True))


def _united_extra(parts: Sequence[AnnotatedDataset], splits: Sequence[str]) -> dict[str, Any]:
    if len(parts) == 1:
        return parts[0].extra
    fields = [{k: v for k, v in part.extra.items() if k not in _OWN_EXTRA} for part in parts]
    categories: dict[str, Any] = {}
    for part in reversed(parts):
        categories.update(part.extra["categories"])
    differing = {split: own for split, own in zip(splits, fields, strict=True) if own != fields[0]}
    return {**fields[0], "categories": categories, **({"splits": differing} if differing else {})}
