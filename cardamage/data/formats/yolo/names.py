"""Names of YOLO's classes, by number."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ....errors import DataError
from ..shared.text_files import read_text

__all__ = ["NAME_FILES", "names_in", "numbered_names"]

NAME_FILES = ("classes.txt", "obj.names", "names.txt", "labels.txt", "notes.json")
"""What files of class names are called."""

_LONGEST = 1 << 18
_MOST_CLASSES = 100_000


def numbered_names(content: Mapping[str, Any], path: Path) -> list[str]:
    """Return the ``names`` of a description, a list or numbers with names, by their numbers.

    Raises:
        DataError: where they are neither, or not numbered from 0.
    """
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


def names_in(path: Path) -> list[str]:
    """Return the names in a file of them: lines, or the ``categories`` of Label Studio's ``notes.json``.

    Raises:
        DataError: for a file that can't be read, or has no categories.
    """
    text = read_text(path, "file of class names", _LONGEST)
    if path.suffix != ".json":
        names = [line.strip() for line in text.rstrip().splitlines()]
        return _distinct(names, path)
    try:
        categories = sorted(json.loads(text)["categories"], key=lambda c: int(c["id"]))
        return _distinct([str(category["name"]) for category in categories], path)
    except (ValueError, TypeError, KeyError, OverflowError, RecursionError):
        raise DataError(f"The file of class names {path} has no list of 'categories'.") from None


def _distinct(names: list[str], path: Path) -> list[str]:
    often = Counter(names)
    if len(names) > _MOST_CLASSES:
        raise DataError(f"{path} names {len(names)} classes, which is more than {_MOST_CLASSES}.")
    named = [name or f"class {i}" for i, name in enumerate(names)]
    return [name if often[name] <= 1 else f"{name} ({i})" for i, name in enumerate(named)]
