"""Where a YOLO dataset's class names, images and labels are."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

import yaml

from ....errors import DataError
from ....utils.suggest import did_you_mean
from ...images.signs import PICTURE_SUFFIXES
from ..shared.natural_order import natural_key
from ..shared.text_files import read_text

__all__ = ["YoloLayout", "find_layout", "has_labels", "label_file"]

_SPLITS = {"train": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}
_NAME_FILES = ("classes.txt", "obj.names", "names.txt", "labels.txt", "notes.json")
_NOTHING = ("", "~", "null", "Null", "NULL")
# YAML is read slowly, and no list of classes is longer than this; of the other files nothing is decoded.
_LONGEST_YAML = 1 << 18
_LONGEST_TEXT = 1 << 28
_LONGEST_PLACE = 4096
_MOST_CLASSES = 100_000


@dataclass
class YoloLayout:
    """A YOLO dataset, its images not yet looked for.

    Attributes:
        source: the file, or the folder where there is none, that describes it.
        folder: what relative places are below.
        names: of the classes, by number.
        splits: places of images as they are given, by split: ``train``, ``val``, ``test``; or an empty name
            where there are no splits.
        base: the description's own word for the folder.
        extra: what else it says of the dataset.
        image_root: a folder to look in first.
        counted: how many classes it says there are, where that is another number than it names.
    """

    source: Path
    folder: Path
    names: list[str]
    splits: dict[str, list[str]]
    base: str = ""
    extra: dict[str, Any] = field(default_factory=dict)
    image_root: Path | None = None
    counted: str = ""

    def split_name(self, split: str) -> str:
        """Return the split that a user means.

        Raises:
            DataError: where there is none such.
        """
        name = _SPLITS.get(split, split)
        if name in self.splits:
            return name
        if list(self.splits) == [""] and name == "train":
            return ""
        hint = did_you_mean(split, self.splits) or f"; it has {', '.join(self.splits) or 'none'}."
        raise DataError(f"{self.source} has no split {split!r}{hint}")

    def images(self, split: str) -> list[Path]:
        """List a split's images, each once, in natural order within each place.

        Raises:
            DataError: where a place is not there, or holds no images.
        """
        found: dict[Path, None] = {}
        for value in self.splits[split]:
            place = self._find(value, split)
            paths = _listed(place, self) if place.is_file() else _images_below(place)
            if not paths:
                called = f"{split} of {self.source}" if split else f"of {self.source}"
                what = "list" if place.is_file() else "folder"
                raise DataError(f"The {what} {place} ({called}) holds no images.")
            found.update(dict.fromkeys(paths))
        return list(found)

    def _find(self, value: str, split: str) -> Path:
        for place in _places(self, value):
            if place.suffix.lower() == ".txt" and os.path.isfile(place):
                return place
            if os.path.isdir(place):
                here, there = self.folder.resolve(), place.resolve()
                if here != there and here.is_relative_to(there):
                    raise DataError(
                        f"{self.source} names {value[:200]} as its images, which is a folder around the "
                        "whole dataset; name the folder of the images."
                    )
                return place
        raise DataError(
            f"The images of the split {split!r} in {self.source} are not there: {value[:200]} does not exist."
        )


def find_layout(source: Path, classes: Sequence[str] | None = None) -> YoloLayout:
    """Find out how a YOLO dataset is laid out.

    Args:
        source: ``data.yaml``, Darknet's ``obj.data``, or a folder: with one of these in it, with ``images``
            and ``labels`` in it or in its ``train``, ``val`` and ``test``, or with both side by side.
        classes: names, where the folder has no file of them.

    Raises:
        DataError: where it is none of that, or has no class names.
    """
    if source.is_dir():
        described = _description(source)
        return _plain(source, classes) if described is None else find_layout(described)
    if source.suffix.lower() == ".data":
        return _darknet(source)
    content = _yaml(source)
    if "kpt_shape" in content:
        raise DataError(f"{source} describes key points (kpt_shape), which are neither outlines nor boxes.")
    splits: dict[str, list[str]] = {}
    own = {key: key for key, value in content.items() if isinstance(value, str) and value == f"images/{key}"}
    for key, name in {**own, **_SPLITS}.items():
        value = content.get(key)
        values: list[Any] = value if isinstance(value, list) else [value]
        if value is None or value in _NOTHING or name in splits:
            continue
        if not values or not all(isinstance(v, str) and 0 < len(v) <= _LONGEST_PLACE for v in values):
            raise DataError(f"The split {key!r} in {source} is neither a folder nor a list of folders.")
        splits[name] = values
    splits = splits or _plain_splits(source.parent)
    base = content.get("path")
    extra: dict[str, Any] = {key: content[key] for key in ("roboflow", "license") if key in content}
    base_text = base if isinstance(base, str) and base not in _NOTHING and len(base) <= _LONGEST_PLACE else ""
    layout = YoloLayout(source, source.parent, _names(content, source), splits, base_text, extra)
    counted = str(content.get("nc", len(layout.names)))[:20]
    layout.counted = "" if counted == str(len(layout.names)) else counted
    return layout


def has_labels(folder: Path) -> bool:
    """Tell whether a folder has ``images`` and ``labels`` of YOLO, with names of classes or without."""
    return folder.is_dir() and _plain_splits(folder) not in ({}, {"": ["."]})


def label_file(image: Path) -> Path:
    """Return where an image's labels are, whether there are some or not."""
    parts = list(image.parent.parts)
    for i in range(len(parts) - 1, -1, -1):
        if parts[i] == "images":
            parts[i] = "labels"
            if os.path.isdir(Path(*parts[: i + 1])):
                return Path(*parts) / f"{image.stem}.txt"
            break
    return image.with_suffix(".txt")


def _description(folder: Path) -> Path | None:
    files = sorted(p for p in folder.iterdir() if p.suffix.lower() in (".yaml", ".yml") and p.is_file())
    usual = [p for p in files if p.stem in ("data", "dataset")]
    described = [p for p in usual or files if _describes(p)]
    if len(described) > 1:
        names = ", ".join(p.name for p in described[:5])
        raise DataError(f"The folder {folder} holds {len(described)} YOLO files ({names}); name one of them.")
    if described:
        return described[0]
    darknet = folder / "obj.data"
    return darknet if darknet.is_file() else None


def _describes(path: Path) -> bool:
    if path.stem in ("data", "dataset"):
        return True
    try:
        return any(key in _yaml(path) for key in _SPLITS)
    except DataError:
        return False


def _yaml(path: Path) -> dict[str, Any]:
    _refuse_long(path, "YOLO file", _LONGEST_YAML)
    try:
        # Nothing but texts, lists and dicts: a class may be called "no" or "007".
        content = yaml.load(read_text(path, "YOLO file"), Loader=yaml.BaseLoader)  # noqa: S506
    except (yaml.YAMLError, RecursionError):
        raise DataError(f"The YOLO file {path} is not valid YAML.") from None
    if not isinstance(content, dict) or not content.get("names"):
        raise DataError(f"The YOLO file {path} has no 'names' of classes.")
    return content


def _refuse_long(path: Path, what: str, most: int) -> None:
    if os.path.isfile(path) and path.stat().st_size > most:
        raise DataError(
            f"The {what} {path} is larger than {most >> 10:,} kB, which none is; is it another file?"
        )


def _names(content: dict[str, Any], path: Path) -> list[str]:
    names = content["names"]
    if isinstance(names, dict):
        try:
            by_number = {int(key): name for key, name in names.items()}
        except (TypeError, ValueError):
            raise DataError(f"The classes in {path} are not numbered; number them from 0.") from None
        numbers = sorted(by_number)
        if numbers != list(range(len(names))):
            shown = ", ".join(map(str, numbers[:20]))
            raise DataError(
                f"The classes in {path} are numbered [{shown}]; they must be numbered from 0 without gaps."
            )
        names = [by_number[number] for number in numbers]
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise DataError(f"The 'names' in {path} are not a list of class names.")
    return _distinct(names, path)


def _distinct(names: list[str], path: Path) -> list[str]:
    often = Counter(names)
    if len(names) > _MOST_CLASSES:
        raise DataError(f"{path} names {len(names)} classes, which is more than {_MOST_CLASSES}.")
    named = [name or f"class {i}" for i, name in enumerate(names)]
    return [name if often[name] <= 1 else f"{name} ({i})" for i, name in enumerate(named)]


def _darknet(path: Path) -> YoloLayout:
    """Darknet's ``obj.data``: lines of ``key = value``, as CVAT exports YOLO 1.1."""
    _refuse_long(path, "YOLO file", _LONGEST_YAML)
    pairs = [line.partition("=") for line in read_text(path, "YOLO file").splitlines()]
    content = {key.strip(): value.strip() for key, _, value in pairs}
    layout = YoloLayout(path, path.parent, [], {})
    named = content.get("names", "")[:_LONGEST_PLACE]
    file = next((p for p in _places(layout, named) if os.path.isfile(p)), None) if named else None
    if file is None:
        raise DataError(f"{path} names no file of class names that is there.")
    layout.names = _names_in(file)
    layout.splits = {
        name: [content[key][:_LONGEST_PLACE]] for key, name in _SPLITS.items() if content.get(key)
    }
    return layout


def _names_in(path: Path) -> list[str]:
    _refuse_long(path, "file of class names", _LONGEST_YAML)
    text = read_text(path, "file of class names")
    if path.suffix != ".json":
        names = [line.strip() for line in text.rstrip().splitlines()]
        return _distinct(names, path)
    try:
        categories = sorted(json.loads(text)["categories"], key=lambda c: int(c["id"]))
        return _distinct([str(category["name"]) for category in categories], path)
    except (ValueError, TypeError, KeyError, OverflowError, RecursionError):
        raise DataError(f"The file of class names {path} has no list of 'categories'.") from None


def _plain(folder: Path, classes: Sequence[str] | None) -> YoloLayout:
    """A folder that nothing describes."""
    splits = _plain_splits(folder)
    if not splits:
        raise DataError(
            f"The folder {folder} holds no YOLO dataset: no data.yaml, and no images with label files."
        )
    places = [folder, folder / "labels", *(label_file(folder / v[0] / "x").parent for v in splits.values())]
    file = next((p / name for p in places for name in _NAME_FILES if (p / name).is_file()), None)
    if file is None and classes is None:
        raise DataError(
            f"The folder {folder} has no names of classes; write them into classes.txt in it, one a line."
        )
    names = _names_in(file) if file is not None else list(classes or ())
    return YoloLayout(folder, folder, names, splits)


def _plain_splits(folder: Path) -> dict[str, list[str]]:
    """Folders of images, those of a split or all; none where they have no labels."""
    splits = {name: [f"{key}/images"] for key, name in _SPLITS.items() if (folder / key / "images").is_dir()}
    if not splits and (folder / "images").is_dir():
        below = {
            name: [f"images/{key}"] for key, name in _SPLITS.items() if (folder / "images" / key).is_dir()
        }
        splits = below or {"": ["images"]}
    splits = splits or {"": ["."]}
    places = [(folder / v[0], label_file(folder / v[0] / "x").parent) for v in splits.values()]
    return splits if any(_has_labels(*place) for place in places) else {}


def _has_labels(images: Path, labels: Path) -> bool:
    if not labels.is_dir() or not images.is_dir():
        return False
    with os.scandir(labels) as entries:
        stems = {e.name[:-4] for e in entries if e.name.endswith(".txt") and e.name not in _NAME_FILES}
    if images != labels:
        return bool(stems) or any(path.is_dir() for path in labels.iterdir())
    return any(p.stem in stems for p in images.iterdir() if p.suffix.lower() in PICTURE_SUFFIXES)


def _places(layout: YoloLayout, value: str) -> Iterator[Path]:
    """Where a description may mean: as it says, then ever shorter ends of it below its folder."""
    base, posix = (
        PurePosixPath(PureWindowsPath(t).as_posix() if "\\" in t else t) for t in (layout.base, value)
    )
    parts = (base / posix).parts
    ends = [part for part in parts if part not in ("..", ".", "/") and not part.endswith(":")]
    roots = [layout.folder] if layout.image_root is None else [layout.image_root, layout.folder]
    if layout.base:
        yield layout.folder / layout.base / posix
    for root in roots:
        yield root / posix
    for i in range(len(ends)):
        for root in roots:
            yield root.joinpath(*ends[i:])


def _images_below(folder: Path) -> list[Path]:
    found = []
    for place, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        found += [
            Path(place, name)
            for name in files
            if not name.startswith(".") and os.path.splitext(name)[1].lower() in PICTURE_SUFFIXES
        ]
    regular = [path for path in found if path.is_file()]
    return sorted(regular, key=lambda path: natural_key(path.relative_to(folder).as_posix()))


def _listed(file: Path, layout: YoloLayout) -> list[Path]:
    """The images that a text file lists, one a line."""
    _refuse_long(file, "list of images", _LONGEST_TEXT)
    found = []
    lines = read_text(file, "list of images").splitlines()
    beside = YoloLayout(layout.source, file.parent, [], {}, image_root=layout.image_root)
    for number, line in enumerate(lines, start=1):
        value = line.strip()
        if not value:
            continue
        if len(value) > _LONGEST_PLACE or os.path.splitext(value)[1].lower() not in PICTURE_SUFFIXES:
            raise DataError(f"{file}, line {number}: {value[:60]!r} is not the path of an image.")
        options = [*_places(beside, value), *_places(layout, value)]
        path = next((p for p in options if os.path.isfile(p)), None)
        if path is None:
            raise DataError(f"{file}, line {number}: the image {value[:200]} is not there.")
        found.append(Path(os.path.normpath(path)))
    return found
