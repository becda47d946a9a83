"""YOLO's text files (Ultralytics and Roboflow), outlines and boxes, read into dataset dicts.

``data.yaml`` names the classes and the image folders; the labels of ``.../images/a.jpg`` are in
``.../labels/a.txt``. A row is ``class x y x y x y ...`` (an outline) or ``class x y w h`` (a box), as shares
of the image's size. Folders are looked for where the YAML says and, as exports are moved, below the YAML by
the ends of their paths. An image without label file has no objects; a label file without image is logged.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

import numpy as np
import yaml

from ...errors import DataError
from ...utils.suggest import did_you_mean
from ..annotation_report import AnnotationReport
from ..checks import RawAnnotation, check_annotation
from ..image_io import image_size
from .reading import natural_key, read_text

__all__ = ["load_yolo"]

logger = logging.getLogger(__name__)

_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff"})
_ALIASES = {"val": "valid", "valid": "val", "validation": "val"}
_SHOWN = 20


def load_yolo(
    data_yaml: str | os.PathLike[str], split: str = "train", report: AnnotationReport | None = None
) -> tuple[list[dict[str, Any]], list[str]]:
    """Load one split of a YOLO dataset.

    Args:
        data_yaml: the YAML with ``names`` and the splits.
        split: ``"train"``, ``"val"`` (or ``"valid"``) or ``"test"``.
        report: is told what was found; by default it is logged.

    Returns:
        Dataset dicts with ``image_id`` from 1, and the class names. Boxes have no ``segmentation``.

    Raises:
        DataError: for files that can't be used, unreadable images, or a class number without name.
    """
    path = Path(data_yaml)
    content = _yaml(path)
    names = _names(content, path)
    folder = _split_folder(path, content, split)
    images = sorted(
        (p for p in folder.iterdir() if p.suffix.lower() in _SUFFIXES), key=lambda p: natural_key(p.name)
    )
    if not images:
        raise DataError(f"The folder {folder} ({split} of {path}) holds no images.")
    sizes = _sizes(images)
    findings = report or AnnotationReport(f"{path}#{split}")
    dicts = []
    for number, (image, (height, width)) in enumerate(zip(images, sizes, strict=True), start=1):
        record: dict[str, Any] = {
            "file_name": str(image),
            "height": height,
            "width": width,
            "image_id": number,
        }
        record["annotations"] = list(_annotations(_label_file(image), (height, width), names, findings))
        dicts.append(record)
    _tell_orphans(folder, images)
    if report is None:
        findings.log()
    return dicts, names


def _yaml(path: Path) -> dict[str, Any]:
    try:
        content = yaml.safe_load(read_text(path, "YOLO file"))
    except yaml.YAMLError:
        raise DataError(f"The YOLO file {path} is not valid YAML.") from None
    if not isinstance(content, dict) or not content.get("names"):
        raise DataError(f"The YOLO file {path} has no 'names' of classes.")
    return content


def _names(content: dict[str, Any], path: Path) -> list[str]:
    names = content["names"]
    if isinstance(names, dict):
        numbers = sorted(int(key) for key in names)
        if numbers != list(range(len(numbers))):
            raise DataError(
                f"The classes in {path} are numbered {numbers}; they must be numbered from 0 without gaps."
            )
        return [str(names.get(i, names.get(str(i)))) for i in numbers]
    return [str(name) for name in names]


def _split_folder(path: Path, content: dict[str, Any], split: str) -> Path:
    key = split if split in content else _ALIASES.get(split, split)
    value = content.get(key)
    if not value:
        known = [k for k in ("train", "val", "valid", "test") if content.get(k)]
        hint = did_you_mean(split, known) or f"; it has {', '.join(known) or 'none'}."
        raise DataError(f"{path} has no split {split!r}{hint}")
    named = [value] if isinstance(value, str) else list(value)
    if len(named) != 1:
        raise DataError(f"The split {split!r} in {path} has {len(named)} folders; only one is understood.")
    places = _places(path, content, str(named[0]))
    found = next((place for place in places if place.is_dir()), None)
    if found is None:
        raise DataError(
            f"The images of the split {split!r} in {path} are not there: {named[0]} does not exist."
        )
    return found


def _places(path: Path, content: dict[str, Any], value: str) -> list[Path]:
    """Where the YAML may mean: as it says, then ever shorter ends of it below the YAML."""
    posix = PurePosixPath(PureWindowsPath(value).as_posix() if "\\" in value else value)
    root = path.parent / str(content.get("path") or "")
    ends = [part for part in posix.parts if part not in ("..", ".", "/") and not part.endswith(":")]
    below = [path.parent.joinpath(*ends[i:]) for i in range(len(ends))]
    return [root / posix, path.parent / posix, *below]


def _sizes(images: list[Path]) -> list[tuple[int, int]]:
    sizes, errors = [], []
    for image in images:
        try:
            sizes.append(image_size(image))
        except DataError as error:
            errors.append(str(error))
    if errors:
        more = (
            [f"... and {len(errors) - _SHOWN} more images that can't be used."]
            if len(errors) > _SHOWN
            else []
        )
        raise DataError("\n".join(errors[:_SHOWN] + more))
    return sizes


def _label_file(image: Path) -> Path:
    parts = list(image.parent.parts)
    for i in range(len(parts) - 1, -1, -1):
        if parts[i] == "images":
            parts[i] = "labels"
            break
    return Path(*parts) / f"{image.stem}.txt"


def _tell_orphans(folder: Path, images: list[Path]) -> None:
    labels = _label_file(folder / "x").parent
    stems = {image.stem for image in images}
    orphans = [p.name for p in labels.glob("*.txt") if p.stem not in stems] if labels.is_dir() else []
    if orphans:
        logger.warning("%s: %d label files have no image, such as %s.", labels, len(orphans), orphans[0])


def _annotations(
    path: Path, size: tuple[int, int], names: list[str], report: AnnotationReport
) -> Iterator[dict[str, Any]]:
    if not path.is_file():
        return
    height, width = size
    for line, text in enumerate(read_text(path, "label file").splitlines(), start=1):
        if not text.strip():
            continue
        place = f"{path}, line {line}"
        category, values = _row(text, place, names)
        raw = RawAnnotation(place)
        if len(values) == 4:
            x, y, w, h = values * (width, height, width, height)
            raw.bbox = (x - w / 2, y - h / 2, x + w / 2, y + h / 2)
        else:
            raw.polygons = [values.reshape(-1, 2) * (width, height)]
        checked = check_annotation(raw, height, width, report)
        if checked is not None:
            yield {**checked, "category_id": category}


def _row(text: str, place: str, names: list[str]) -> tuple[int, np.ndarray]:
    try:
        number, *values = (float(word) for word in text.split())
        coordinates = np.asarray(values, dtype=np.float64)
    except ValueError:
        raise DataError(f"{place}: {text[:40]!r} is not a row of numbers.") from None
    if len(values) < 4 or len(values) % 2:
        raise DataError(
            f"{place}: a row has a class and 4 numbers (a box) or 3 or more points, "
            f"but this one has {len(values)} numbers."
        )
    if not number.is_integer() or not 0 <= number < len(names):
        raise DataError(f"{place}: class {text.split()[0]} has no name; the names are 0 to {len(names) - 1}.")
    return int(number), coordinates
