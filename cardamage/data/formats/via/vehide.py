"""VehiDE's JSON (Huynh et al. 2023), which is VIA's with less in it.

For each file name it has ``{"name": FILE, "regions": [{"all_x": [...], "all_y": [...], "class": NAME}]}``.
Sizes are not in it, so the pictures must be there; those that aren't are named in one message.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from ....errors import DataError
from ...annotations.checks import RawAnnotation
from ...annotations.report import AnnotationReport
from ...images.checks import missing_message
from ...images.reading import image_size
from ...registered.classes import VEHIDE_CLASSES
from ..dataset import AnnotatedDataset, AnnotatedImage, to_dicts
from ..pictures.finding import ImageFolder
from ..shared.text_files import read_json

__all__ = ["load_vehide", "read_vehide"]


def load_vehide(
    json_file: str | os.PathLike[str],
    image_root: str | os.PathLike[str],
    report: AnnotationReport | None = None,
) -> tuple[list[dict[str, Any]], list[str]]:
    """Load one of VehiDE's files.

    Args:
        json_file: the file.
        image_root: folder of its pictures.
        report: is told what was found; by default it is logged.

    Returns:
        Dataset dicts with ``image_id`` from 1, and the class names, see :func:`read_vehide`.

    Raises:
        DataError: for a file that can't be used, or missing pictures.
    """
    return to_dicts(read_vehide(json_file, image_root), report=report)


def read_vehide(json_file: str | os.PathLike[str], image_root: str | os.PathLike[str]) -> AnnotatedDataset:
    """Read one of VehiDE's files as annotations in memory.

    Args:
        json_file: the file.
        image_root: folder of its pictures.

    Returns:
        The pictures in the file's order. Classes are the known ones in English, used or not; then any other
        that the file has, by its own name.

    Raises:
        DataError: for a file that can't be used, or missing pictures.
    """
    name = os.fspath(json_file)
    entries = _entries(name)
    folder = ImageFolder.around(Path(name), image_root, [{"file_name": file} for file, _ in entries])
    paths = [folder.path_of({"file_name": file}) for file, _ in entries]
    missing = [path for path in paths if not os.path.isfile(path)]
    if missing:
        raise DataError(missing_message(missing, len(paths)))
    classes = dict.fromkeys(VEHIDE_CLASSES.values())
    images = []
    for (file, regions), path in zip(entries, paths, strict=True):
        annotations = [_raw(region, f"{name}, {file}, region {i}") for i, region in enumerate(regions)]
        height, width = image_size(path)
        images.append(AnnotatedImage(file, path, height, width, annotations))
        classes.update(dict.fromkeys(annotation.label for annotation in annotations))
    return AnnotatedDataset(name, "vehide", list(classes), images)


def _entries(name: str) -> list[tuple[str, list[dict[str, Any]]]]:
    """Each picture's file name and regions; one that is there twice, the first time."""
    content = read_json(name, "VehiDE file")
    found: dict[str, list[dict[str, Any]]] = {}
    for key, entry in content.items() if isinstance(content, dict) else ():
        regions = entry.get("regions", []) if isinstance(entry, dict) else None
        if not isinstance(regions, list) or not all(isinstance(region, dict) for region in regions):
            raise DataError(f"{name} is no file of VehiDE: its entry {key!r} has no list of 'regions'.")
        found.setdefault(str(entry.get("name") or key), regions)
    if not found:
        raise DataError(f"{name} is no file of VehiDE: it has no pictures.")
    return list(found.items())


def _raw(region: dict[str, Any], place: str) -> RawAnnotation:
    label = region.get("class")
    if not isinstance(label, str) or not label.strip():
        raise DataError(f"{place}: it has no 'class'; give it one, or take the region out.")
    known = VEHIDE_CLASSES.get(label.strip(), label.strip())
    x, y = region.get("all_x"), region.get("all_y")
    if not isinstance(x, list) or not isinstance(y, list) or len(x) != len(y):
        raise DataError(f"{place} ({label!r}): 'all_x' and 'all_y' are not lists of equal length.")
    outline = [value for point in zip(x, y, strict=True) for value in point]
    return RawAnnotation(place, polygons=[outline], label=known)
