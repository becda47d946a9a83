"""Names of classes for mask PNGs: which value of a pixel, or which colour, means what."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ....errors import DataError
from ..shared.natural_order import natural_key
from ..shared.text_files import read_text
from .layout import MaskLayout

__all__ = ["PixelNames", "instance_classes", "is_background", "pixel_names"]

_LISTS = ("classes.txt", "names.txt", "labels.txt")
_JSONS = ("classes.json", "names.json", "labels.json")
_BACKGROUND = frozenset({"background", "bg", "void", "ignore", "unlabeled", "unlabelled"})
_LONGEST = 1 << 22
_MOST_CLASSES = 65_536


@dataclass
class PixelNames:
    """What pixels mean.

    Attributes:
        names: by value; by ``red << 16 | green << 8 | blue`` where colours count.
        skipped: values that are no object.
        colors: whether colours count.
    """

    names: dict[int, str]
    skipped: frozenset[int]
    colors: bool = False

    @property
    def classes(self) -> list[str]:
        """The names, each once, in the order of their values, or of the file where colours count."""
        return list(dict.fromkeys(self.names.values()))


def is_background(name: str) -> bool:
    """Tell whether a class is none: ``background``, ``void``, ``ignore``, ..., underscores aside."""
    return name.strip("_ ").lower() in _BACKGROUND


def pixel_names(layout: MaskLayout, classes: Sequence[str] | None) -> PixelNames:
    """Find out what the values of index masks mean.

    ``labelmap.txt`` (CVAT's, of lines ``name:r,g,b``) gives colours; ``_classes.csv`` (Roboflow's) and a JSON
    object or list give values; lines of ``classes.txt`` count from 0 where the first is the background, from
    1 where it isn't. 0 and 255 are no object unless a file with values names them.

    Args:
        layout: where the files may be.
        classes: names in the order of values from 1, where there is no file.

    Raises:
        DataError: where there are no names, or they can't be read.
    """
    for place in layout.places:
        if (file := place / "labelmap.txt").is_file():
            return _colors(file)
        if (file := place / "_classes.csv").is_file():
            return _valued(_csv(file), file)
        for name in _JSONS:
            if (file := place / name).is_file():
                return _valued(_json(file), file)
        for name in _LISTS:
            if (file := place / name).is_file():
                return _listed(_lines(file))
    if classes is not None:
        return _listed(list(classes))
    raise DataError(
        f"The masks in {layout.root} have no names of classes; write them into classes.txt in it, one a "
        "line, 'background' first."
    )


def instance_classes(layout: MaskLayout, classes: Sequence[str] | None) -> tuple[list[str], bool]:
    """Return the classes of masks of single objects, and whether a list gives them; else file names do."""
    found = {token for image in layout.images for _, token in image.instances}
    for place in layout.places:
        file = next((place / name for name in _LISTS if (place / name).is_file()), None)
        if file is not None:
            lines = _lines(file)
            return [name for name in lines if not is_background(name) or name in found], True
    return (list(classes), True) if classes is not None else (sorted(found, key=natural_key), False)


def _text(file: Path) -> str:
    return read_text(file, "file of class names", _LONGEST)


def _lines(file: Path) -> list[str]:
    lines = [line.strip() for line in _text(file).rstrip().splitlines()]
    # Labelme's list begins with one for what is no pixel's value.
    lines = lines[1:] if lines[:1] == ["__ignore__"] else lines
    if not lines or len(lines) > _MOST_CLASSES:
        raise DataError(f"The file of class names {file} has {len(lines)} names.")
    return lines


def _listed(lines: Sequence[str]) -> PixelNames:
    first = 0 if is_background(lines[0]) else 1
    values = {value: name for value, name in enumerate(lines, start=first) if name}
    skipped = {0, *(value for value, name in values.items() if is_background(name))}
    if 255 not in values:
        skipped.add(255)
    return PixelNames({v: n for v, n in values.items() if v not in skipped}, frozenset(skipped))


def _valued(values: dict[int, str], file: Path) -> PixelNames:
    names = {value: name for value, name in sorted(values.items()) if not is_background(name)}
    if not names or min(names) < 0 or max(names) >= _MOST_CLASSES:
        raise DataError(f"The file of class names {file} gives no name to a value from 0 to 65535.")
    return PixelNames(names, frozenset({0, 255, *values} - set(names)))


def _csv(file: Path) -> dict[int, str]:
    try:
        rows = list(csv.reader(_text(file).splitlines(), skipinitialspace=True))
        return {int(row[0]): row[1].strip() for row in rows[1:] if row}
    except (ValueError, IndexError, csv.Error):
        raise DataError(f"The file of class names {file} is not a list of 'Pixel Value, Class'.") from None


def _json(file: Path) -> dict[int, str]:
    try:
        return _from_json(json.loads(_text(file)))
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError, OverflowError):
        raise DataError(
            f'The file of class names {file} is neither a list nor {{"1": "name"}} nor {{"name": 1}}.'
        ) from None


def _from_json(content: Any) -> dict[int, str]:
    if isinstance(content, dict) and isinstance(content.get("categories"), list):
        content = content["categories"]
    if isinstance(content, dict):
        by_value = {key: value for key, value in content.items() if isinstance(value, str)}
        if len(by_value) == len(content):
            return {int(key): value for key, value in content.items()}
        return {int(value): key for key, value in content.items()}
    if all(isinstance(entry, str) for entry in content):
        listed = _listed(content)
        return {**dict.fromkeys(listed.skipped, "background"), **listed.names} if content else {}
    return {int(entry["id"]): str(entry["name"]) for entry in content}


def _colors(file: Path) -> PixelNames:
    names: dict[int, str] = {}
    skipped = {0}
    for number, line in enumerate(_text(file).splitlines(), start=1):
        if not line.strip() or line.startswith("#"):
            continue
        name, _, rest = line.partition(":")
        try:
            red, green, blue = (int(part) for part in rest.split(":")[0].split(","))
            color = red << 16 | green << 8 | blue
        except ValueError:
            color = -1
        if not 0 <= color < 1 << 24 or not name.strip():
            raise DataError(f"{file}, line {number}: it is not 'name:red,green,blue'.")
        if is_background(name):
            skipped.add(color)
        else:
            names[color] = name.strip()
    if not names:
        raise DataError(f"The file of class names {file} names no class.")
    return PixelNames(names, frozenset(skipped - set(names)), colors=True)
