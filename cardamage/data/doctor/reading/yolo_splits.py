"""The splits of YOLO sets: by the folders and lists of pictures that ``data.yaml`` or ``obj.data`` names."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml

from ....errors import DataError
from ...formats.shared.text_files import read_text
from ...formats.yolo.places import LONGEST_PLACE, SPLITS, possible_places
from ..model import Part, Picture
from .values import IMAGE_SUFFIXES, image_files, read_or_note

__all__ = ["is_picture_list", "name_splits"]

_LISTS = frozenset(f"{name}.txt" for name in SPLITS)


def is_picture_list(file: Path) -> bool:
    """Whether a text file lists the pictures of a split, one a line."""
    if file.name.lower() not in _LISTS:
        return False
    try:
        first = next((line for line in read_text(file, "list").splitlines() if line.strip()), "")
    except (DataError, OSError, ValueError):
        return False
    return os.path.splitext(first.strip())[1].lower() in IMAGE_SUFFIXES


def name_splits(home: Path, files: Sequence[Path], first: Part, parts: Sequence[Part]) -> None:
    """Give pictures the splits that they are listed in.

    Args:
        home: folder of the descriptions.
        files: YAML files there; the first that leads to pictures counts.
        first: is told of listed pictures that are missing (D101), are listed twice (D316), or are in no list
            though there are lists (D319).
        parts: the folders of labels; their pictures are changed.
    """
    pictures = {os.path.realpath(p.source): p for part in parts for p in part.pictures if p.source}
    if not pictures:
        return
    listed: dict[str, dict[int, str]] = {}
    for places in _described(home, files):
        splits: dict[str, list[str]] = defaultdict(list)
        listed = {}
        for split, place in places:
            if place.is_file():
                listed[str(place)] = _listed(place, home, split, first)
                found = list(listed[str(place)].values())
            else:
                found = [os.path.realpath(path) for path in image_files(place)]
            for path in dict.fromkeys(found):
                splits[path].append(split)
        if not splits.keys().isdisjoint(pictures):
            break
    else:
        return
    for path, names in splits.items():
        if path in pictures:
            pictures[path].split = names[0]
            pictures[path].also_in = tuple(dict.fromkeys(names[1:]))
    if listed:
        first.lists.update(listed)
        _note_unlisted([p for path, p in pictures.items() if path not in splits], first)


def _note_unlisted(pictures: Sequence[Picture], first: Part) -> None:
    for picture in pictures:
        if picture.labelled:
            first.note("D319", picture.source, others=[picture.file])


def _described(home: Path, files: Sequence[Path]) -> Iterator[list[tuple[str, Path]]]:
    """Splits with their folders and lists, by each description; by the lists alone where they have none."""
    for file in [*files, *sorted(path for path in home.glob("*.data") if path.is_file())]:
        content = _content(file)
        base = content.get("path")
        base = base if isinstance(base, str) and len(base) <= LONGEST_PLACE else ""
        found: dict[Path, str] = {}
        for key, split in SPLITS.items():
            value = content.get(key)
            for text in value if isinstance(value, list) else [value]:
                place = _place(text, home, base)
                if place is not None:
                    # Two splits that are one place are told as such, not picture by picture.
                    found.setdefault(place, split)
        yield [(split, place) for place, split in found.items()]
    yield [(SPLITS[path.stem.lower()], path) for path in sorted(home.glob("*.txt")) if is_picture_list(path)]


def _content(file: Path) -> dict[Any, Any]:
    try:
        text = read_text(file, "YOLO file")
        if file.suffix.lower() == ".data":
            pairs = (line.partition("=") for line in text.splitlines())
            return {key.strip(): value.strip() for key, _, value in pairs}
        content = yaml.safe_load(text)
    except (yaml.YAMLError, DataError, OSError, RecursionError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _place(text: Any, home: Path, base: str) -> Path | None:
    if not isinstance(text, str) or not 0 < len(text) <= LONGEST_PLACE:
        return None
    for place in possible_places(text, home, base):
        if place.suffix.lower() == ".txt" and os.path.isfile(place):
            return Path(os.path.realpath(place))
        if os.path.isdir(place):
            # A folder around the whole set divides nothing.
            around = home.resolve().is_relative_to(place.resolve())
            return None if around else Path(os.path.realpath(place))
    return None


def _listed(file: Path, home: Path, split: str, first: Part) -> dict[int, str]:
    """The pictures of a list by their lines, without links."""
    text = read_or_note(first, file, read_text, "list of pictures") or ""
    found: dict[int, str] = {}
    seen: dict[str, int] = {}
    for line, row in enumerate(text.splitlines(), start=1):
        value = row.strip()
        if not value or len(value) > LONGEST_PLACE:
            continue
        options = [*possible_places(value, file.parent), *possible_places(value, home)]
        path = next((os.path.realpath(p) for p in options if os.path.isfile(p)), None)
        if path is None:
            first.note("D101", file, line, f"{value} of {split or 'the list'} does not exist")
            continue
        found[line] = path
        if path in seen:
            first.note("D316", file, line, f"{value} is in line {seen[path]} too")
        seen.setdefault(path, line)
    return found
