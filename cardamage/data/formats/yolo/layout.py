"""Where a YOLO dataset's class names, images and labels are."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from ....errors import DataError
from ....utils.suggest import did_you_mean
from ..shared.listing import files_in
from ..shared.text_files import read_text
from .names import NAME_FILES, names_in, numbered_names
from .places import (
    LONGEST_PLACE,
    SPLITS,
    images_below,
    label_file,
    labelled_folders,
    listed_images,
    possible_places,
)

__all__ = ["YoloLayout", "find_layout", "has_labels"]

_NOTHING = ("", "~", "null", "Null", "NULL")
# YAML is read slowly, and no list of classes is longer than this.
_LONGEST_YAML = 1 << 18


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
        name = SPLITS.get(split, split)
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
            paths = self._listed(place) if place.is_file() else images_below(place)
            if not paths:
                called = f"{split} of {self.source}" if split else f"of {self.source}"
                what = "list" if place.is_file() else "folder"
                raise DataError(f"The {what} {place} ({called}) holds no images.")
            found.update(dict.fromkeys(paths))
        return list(found)

    def _listed(self, file: Path) -> list[Path]:
        return listed_images(file, self.folder, self.base, self.image_root)

    def _find(self, value: str, split: str) -> Path:
        for place in possible_places(value, self.folder, self.base, self.image_root):
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
    splits = _named_splits(content, source) or labelled_folders(source.parent)
    base = content.get("path")
    extra: dict[str, Any] = {key: content[key] for key in ("roboflow", "license") if key in content}
    base_text = base if isinstance(base, str) and base not in _NOTHING and len(base) <= LONGEST_PLACE else ""
    layout = YoloLayout(source, source.parent, numbered_names(content, source), splits, base_text, extra)
    counted = str(content.get("nc", len(layout.names)))[:20]
    layout.counted = "" if counted == str(len(layout.names)) else counted
    return layout


def has_labels(folder: Path) -> bool:
    """Tell whether a folder has ``images`` and ``labels`` of YOLO, with names of classes or without."""
    return folder.is_dir() and labelled_folders(folder) not in ({}, {"": ["."]})


def _description(folder: Path) -> Path | None:
    files = sorted(folder / name for name in files_in(folder, (".yaml", ".yml")))
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
        return any(key in _yaml(path) for key in SPLITS)
    except DataError:
        return False


def _yaml(path: Path) -> dict[str, Any]:
    text = read_text(path, "YOLO file", _LONGEST_YAML)
    try:
        # Nothing but texts, lists and dicts: a class may be called "no" or "007".
        content = yaml.load(text, Loader=yaml.BaseLoader)  # noqa: S506
    except (yaml.YAMLError, RecursionError):
        raise DataError(f"The YOLO file {path} is not valid YAML.") from None
    if not isinstance(content, dict) or not content.get("names"):
        raise DataError(f"The YOLO file {path} has no 'names' of classes.")
    return content


def _named_splits(content: dict[str, Any], path: Path) -> dict[str, list[str]]:
    splits: dict[str, list[str]] = {}
    own = {key: key for key, value in content.items() if isinstance(value, str) and value == f"images/{key}"}
    for key, name in {**own, **SPLITS}.items():
        value = content.get(key)
        values: list[Any] = value if isinstance(value, list) else [value]
        if value is None or value in _NOTHING or name in splits:
            continue
        if not values or not all(isinstance(v, str) and 0 < len(v) <= LONGEST_PLACE for v in values):
            raise DataError(f"The split {key!r} in {path} is neither a folder nor a list of folders.")
        splits[name] = values
    return splits


def _darknet(path: Path) -> YoloLayout:
    """Darknet's ``obj.data``: lines of ``key = value``, as CVAT exports YOLO 1.1."""
    pairs = [line.partition("=") for line in read_text(path, "YOLO file", _LONGEST_YAML).splitlines()]
    content = {key.strip(): value.strip() for key, _, value in pairs}
    named = content.get("names", "")[:LONGEST_PLACE]
    places = possible_places(named, path.parent) if named else ()
    file = next((place for place in places if os.path.isfile(place)), None)
    if file is None:
        raise DataError(f"{path} names no file of class names that is there.")
    splits = {name: [content[key][:LONGEST_PLACE]] for key, name in SPLITS.items() if content.get(key)}
    return YoloLayout(path, path.parent, names_in(file), splits)


def _plain(folder: Path, classes: Sequence[str] | None) -> YoloLayout:
    """A folder that nothing describes."""
    splits = labelled_folders(folder)
    if not splits:
        raise DataError(
            f"The folder {folder} holds no YOLO dataset: no data.yaml, and no images with label files."
        )
    places = [folder, folder / "labels", *(label_file(folder / v[0] / "x").parent for v in splits.values())]
    file = next((p / name for p in places for name in NAME_FILES if (p / name).is_file()), None)
    if file is None and classes is None:
        raise DataError(
            f"The folder {folder} has no names of classes; write them into classes.txt in it, one a line."
        )
    names = names_in(file) if file is not None else list(classes or ())
    return YoloLayout(folder, folder, names, splits)
