"""YOLO's text files with their mistakes, with a ``data.yaml`` or without one."""

from __future__ import annotations

import os
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

import numpy as np
import yaml

from ....errors import DataError
from ....utils.files import open_regular
from ...formats.shared.natural_order import natural_key
from ...formats.shared.text_files import read_text
from ...formats.shared.values import as_number
from ...formats.tracing.bridges import parted
from ...images.reading import image_size
from ..model import Part, Picture, Shape
from .values import IMAGE_SUFFIXES, below, is_hidden, off_by_one, off_by_one_text, read_or_note
from .yolo_splits import is_picture_list, name_splits

__all__ = ["label_folders", "read_yolo", "row_words", "yolo_files"]

# Pixels that a picture without known size is taken to have, so that its labels can be looked at.
_NOMINAL = (640, 640)
_KEYS = ("train", "val", "valid", "test")
# Files with a class name in each line, as LabelImg, Darknet and CVAT write them.
_NAMES_FILES = ("classes.txt", "obj.names", "_darknet.labels", "predefined_classes.txt", "class_names.txt")
_LOOKED_AT = 3
_MOST_NAMES = 10_000


def yolo_files(folder: Path) -> list[Path]:
    """Return the YAML files of a folder that could be YOLO's, ``data.yaml`` first."""
    found = [path for path in sorted(folder.iterdir()) if path.suffix.lower() in (".yaml", ".yml")]
    return sorted(found, key=lambda path: (path.stem != "data", path.name))


def label_folders(folder: Path) -> list[Path]:
    """Return the folders of label files at or below a folder.

    They are called ``labels`` or ``labels...``, or lie below one that is, or hold pictures of the same names,
    or files of rows as YOLO's are.
    """
    by_folder: dict[Path, list[Path]] = defaultdict(list)
    for path in below(folder, [".txt"]):
        if path.name.lower() not in _NAMES_FILES and not is_picture_list(path):
            by_folder[path.parent].append(path)
    found = []
    for place, files in by_folder.items():
        names = (folder.name, *place.relative_to(folder).parts)
        called = any(name.lower().startswith("labels") for name in names)
        if called or any(map(_has_picture, files)) or all(map(_has_rows, files[:_LOOKED_AT])):
            found.append(place)
    return sorted(found, key=lambda path: natural_key(str(path)))


def _has_picture(label: Path) -> bool:
    return any(os.path.isfile(label.with_suffix(suffix)) for suffix in IMAGE_SUFFIXES)


def _has_rows(label: Path) -> bool:
    """Whether the first row is a class and at least four numbers."""
    try:
        with open_regular(label) as file:
            words = file.readline(4096).split()
        return len(words) >= 5 and all(as_number(word.decode()) is not None for word in words[:5])
    except (OSError, ValueError):
        return False


def read_yolo(path: Path, image_root: Path | None = None) -> list[Part]:
    """Read a YOLO set: a ``data.yaml``, or a folder with or without one.

    Args:
        path: the file or folder.
        image_root: not needed; pictures are beside their labels.

    Returns:
        A part for each folder of labels.
    """
    folder = path if path.is_dir() else path.parent
    homes: dict[Path, list[Path]] = {folder: []}
    for labels in label_folders(folder):
        homes.setdefault(_home(labels, folder) if path.is_dir() else folder, []).append(labels)
    parts: list[Part] = []
    for home, label_places in homes.items():
        files = yolo_files(home) if path.is_dir() else [path]
        if label_places or files:
            parts += _read_home(home, files, label_places)
    if not any(homes.values()):
        parts += [Part(str(path), "yolo", states_classes=False)]
        parts[-1].note("D001", path, text="no folder of labels is below it")
    return parts


def _home(labels: Path, top: Path) -> Path:
    """The nearest folder above one of labels that has a YAML file; the topmost where none has."""
    for folder in (labels, *labels.parents):
        if folder == top or yolo_files(folder):
            return folder
    return top


def _read_home(home: Path, files: list[Path], labels: list[Path]) -> list[Part]:
    """Read the labels that go with the YAML files of a folder."""
    first = Part(str(home), "yolo", states_classes=False)
    names: list[str] = []
    for file in files:
        stated = _read_yaml(file, first)
        if stated and names and stated != names:
            first.note("D406", file, text=_other_names(stated, names, files[0].name))
        names = names or stated
    if labels and not names:
        names = _listed_names([home, *labels], first)
    if labels and not names:
        first.note("D409", home, text="no YAML says what the class numbers mean")
    parts = [_read_folder(folder, names) for folder in labels]
    _shift(parts, names, first)
    name_splits(home, files, first, parts)
    return [first, *parts]


def _other_names(stated: list[str], names: list[str], first: str) -> str:
    if len(stated) != len(names):
        return f"{len(stated)} names, but {first} has {len(names)}"
    order = " in another order" if sorted(stated) == sorted(names) else ""
    return f"{first} has {'the same' if order else 'other'} names{order}"


def _shift(parts: list[Part], names: list[str], first: Part) -> None:
    """Move the labels where classes are numbered from 1 and the names from 0 (D320)."""
    numbers = {name: number for number, name in enumerate(names)}
    shapes = [shape for part in parts for shape in part.shapes]
    strange = {hit.text for part in parts for hit in part.notes.get("D306", ())}
    if not names or len(numbers) < len(names) or strange != {_nameless(len(names))}:
        return
    used = {len(names)} | {numbers[shape.label] for shape in shapes if shape.label is not None}
    if off_by_one(used, range(len(names))) != -1:
        return
    first.note("D320", first.source, text=off_by_one_text(used, range(len(names))))
    for part in parts:
        part.off_by_one = True
        part.notes.pop("D306", None)
    for shape in shapes:
        shape.label = names[-1] if shape.label is None else names[numbers[shape.label] - 1]


def _nameless(number: float | str) -> str:
    return f"class {number} has no name"


def _listed_names(folders: list[Path], part: Part) -> list[str]:
    """Names from the first file of names, a line each."""
    for folder in folders:
        for name in _NAMES_FILES:
            if os.path.isfile(folder / name):
                text = read_or_note(part, folder / name, read_text, "file of class names") or ""
                lines = [line.strip() for line in text.rstrip().splitlines()]
                if lines:
                    return lines[:_MOST_NAMES]
    return []


def _read_yaml(file: Path, part: Part) -> list[str]:
    text = read_or_note(part, file, read_text, "YOLO file")
    try:
        content = yaml.safe_load(text) if text is not None else None
    except (yaml.YAMLError, RecursionError, ValueError):
        part.note("D001", file, text="is not valid YAML")
        return []
    if not isinstance(content, dict) or not content.get("names"):
        if text is not None:
            part.note("D003", file, text="has no 'names' of classes")
        return []
    _note_places(file, content, part)
    names = content["names"]
    if isinstance(names, dict):
        numbers = {_name(key): _name(value) for key, value in names.items()}
        count = 1 + max((int(key) for key in numbers if key.isdigit()), default=-1)
        if count != len(numbers):
            part.note("D410", file, text=f"the names are numbered {', '.join(list(numbers)[:20])}")
        return [numbers.get(str(i), f"class {i}") for i in range(min(count, 10_000))]
    if isinstance(names, str) and "," in names:
        part.note("D410", file, text="the names are one text with commas, not a list")
        return [name.strip() for name in names.split(",")][:_MOST_NAMES]
    listed = [_name(name) for name in names] if isinstance(names, list) else [_name(names)]
    if isinstance(content.get("nc"), int) and content["nc"] != len(listed):
        part.note("D410", file, text=f"nc is {content['nc']}, but there are {len(listed)} names")
    return listed


def _name(value: Any) -> str:
    """A name as text; what is no scalar could be far larger as text than in the file."""
    return str(value) if isinstance(value, (str, int, float)) else "?"


def _note_places(file: Path, content: dict[str, Any], part: Part) -> None:
    """Note splits that lead nowhere as written, and those that are one folder."""
    by_place: dict[str, list[str]] = defaultdict(list)
    for key in _KEYS:
        value = content.get(key)
        for text in [value] if isinstance(value, str) else value if isinstance(value, list) else []:
            written = _written(_name(text), content)
            by_place[written.as_posix()].append(key)
            if not _is_there(file, _name(text), content):
                part.note("D312", file, text=f"{key}: {_name(text)} does not exist")
    for place, keys in by_place.items():
        if len(keys) > 1:
            part.note("D313", file, text=f"{' and '.join(keys)} are both {place}")


def _written(text: str, content: dict[str, Any]) -> PurePosixPath:
    windows = PureWindowsPath(text)
    posix = PurePosixPath(windows.as_posix() if "\\" in text or windows.drive else text)
    return PurePosixPath(_name(content.get("path") or "")) / posix


def _is_there(file: Path, text: str, content: dict[str, Any]) -> bool:
    place = file.parent / _written(text, content)
    # Roboflow writes "../train/images" beside the folder "train", and Ultralytics reads it so.
    beside = file.parent / text.removeprefix("../")
    return os.path.exists(place) or os.path.exists(beside)


def _read_folder(folder: Path, names: list[str]) -> Part:
    part = Part(str(folder), "yolo", classes=list(names))
    part.states_classes = bool(names)
    files = {path.stem: path for path in below(folder, [".txt"]) if _is_label(path, folder)}
    place = _images_folder(folder, files)
    images = _images_in(place)
    _note_place(folder, place, files, part)
    for stem in sorted({*images, *files}, key=natural_key):
        file = files.get(stem, folder / f"{stem}.txt")
        there = stem in files
        if stem not in images:
            longer = "; it has the picture's suffix in its own" if Path(stem).stem in images else ""
            part.note("D310", file, text=f"no picture has its name{longer}")
        sources = images.get(stem) or [""]
        if len(sources) > 1:
            part.note("D314", file, text=f"{len(sources)} pictures: {', '.join(sources)}")
        source = sources[0]
        picture = Picture(str(file), None, Path(source).name if source else stem, source, labelled=there)
        if there:
            picture.shapes = list(_shapes(file, _size(source), names, part))
        if source or there:
            part.pictures.append(picture)
    if not names:
        part.classes = sorted({shape.label for shape in part.shapes if shape.label})
    return part


def _is_label(path: Path, folder: Path) -> bool:
    beside = path.parent == folder and path.name.lower() not in _NAMES_FILES
    return beside and not is_picture_list(path)


def _images_folder(labels: Path, files: Iterable[str]) -> Path:
    """The folder that goes with one of labels; the labels' own where there is none."""
    parts = list(labels.parts)
    at = max((i for i, part in enumerate(parts) if part.lower().startswith("labels")), default=None)
    if at is not None:
        for name in ("images", "Images", "IMAGES"):
            folder = Path(*parts[:at], name, *parts[at + 1 :])
            if folder.is_dir():
                return folder
    first = next(iter(files), None)
    if first is not None and not _has_picture(labels / f"{first}.txt"):
        for beside in sorted(path for path in labels.parent.iterdir() if path.is_dir()):
            if _has_picture(beside / f"{first}.txt"):
                return beside
    return labels


def _note_place(labels: Path, images: Path, files: dict[str, Path], part: Part) -> None:
    """Note label files that readers would not look at, so that their pictures count as empty (D318)."""
    named = any(name.startswith("labels") for name in labels.parts)
    if files and images != labels and not named:
        text = f"{len(files)} label files, which readers look for in a folder called 'labels'"
        part.note("D318", labels, text=text)
    odd = [path for path in files.values() if path.suffix != ".txt"]
    if odd:
        part.note("D318", odd[0], text=f"{len(odd)} label files are called {odd[0].suffix}, not .txt")


def _images_in(place: Path) -> dict[str, list[str]]:
    found: dict[str, list[str]] = defaultdict(list)
    try:
        paths = sorted(place.iterdir())
    except OSError:
        return found
    for path in paths:
        if path.suffix.lower() in IMAGE_SUFFIXES and not is_hidden([path.name]):
            found[path.stem].append(str(path))
    return found


def _size(source: str) -> tuple[int, int]:
    try:
        return image_size(source) if source and os.path.isfile(source) else _NOMINAL
    except (DataError, OSError, ValueError):
        return _NOMINAL


def _shapes(file: Path, size: tuple[int, int], names: list[str], part: Part) -> Iterator[Shape]:
    text = read_or_note(part, file, read_text, "label file")
    for line, row in enumerate((text or "").splitlines(), start=1):
        if row.strip():
            shape = _shape(row, file, line, size, names, part)
            if shape is not None:
                yield shape


def row_words(row: str) -> tuple[list[str], str]:
    """Divide a row into numbers, also where they are divided by commas or have decimal commas.

    Returns:
        The numbers as text, and what is odd about them.
    """
    if "," not in row and ";" not in row:
        return row.split(), ""
    plain = row.replace(";", " ").strip()
    decimal = "," in plain and "." not in plain and re.search(r"\s", plain) and not re.search(r",\s", plain)
    if decimal:
        return plain.replace(",", ".").split(), "decimal commas"
    return plain.replace(",", " ").split(), "numbers that are divided by commas"


def _shape(
    row: str, file: Path, line: int, size: tuple[int, int], names: list[str], part: Part
) -> Shape | None:
    words, odd = row_words(row)
    try:
        number, *rest = map(float, words)
        values = np.asarray(rest, dtype=np.float64)
    except ValueError:
        part.note("D002", file, line, f"{row[:40]!r} is not a row of numbers")
        return None
    if odd:
        part.note("D221", file, line, odd)
    if len(values) == 5 and 0 <= values[4] <= 1:
        part.note("D229", file, line, f"its score is {values[4]:g}")
        values = values[:4]
    if len(values) < 4 or len(values) % 2 or not (np.abs(values) <= 1e6).all():
        part.note("D002", file, line, f"a class and {len(values)} numbers are neither a box nor an outline")
        return None
    if not number.is_integer() or number < 0 or (names and number >= len(names)):
        part.note("D306", file, line, _nameless(words[0]))
        label = None
    else:
        label = names[int(number)] if names else str(int(number))
    height, width = size
    if values.max() > 2:
        part.note("D219", file, line, "coordinates above 2: they are pixels, not shares of the picture")
        values = values / np.resize((width, height), len(values))
    shape = Shape(str(file), line, label, size=size)
    shape.rewrite = bool(odd)
    if len(values) == 4:
        x, y, w, h = (values * (width, height, width, height)).tolist()
        shape.kind, shape.box = "box", (x - w / 2, y - h / 2, x + w / 2, y + h / 2)
    else:
        shape.rings = parted(values.reshape(-1, 2) * (width, height), height, width)
    return shape
