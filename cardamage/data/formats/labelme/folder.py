"""A folder's JSON files in natural order, and which files lie where, each folder listed once."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ....errors import DataError

__all__ = ["Listings", "first_json_files", "json_files"]

_DIGITS = re.compile("[0-9]+")


def json_files(
    folder: str | os.PathLike[str],
    listings: Listings | None = None,
    known: Mapping[str, Any] | None = None,
) -> list[str]:
    """List the JSON files of a folder and the folders below it, in natural order of their names.

    Hidden ones are left out, links to folders are not followed.

    Args:
        folder: the folder.
        listings: is told what the folders hold.
        known: what an earlier call returned; where that is all there is, nothing needs to be sorted.

    Returns:
        Paths that begin with the folder's.

    Raises:
        DataError: where there is no such folder, or one that can't be listed.
    """
    root = Path(folder)
    if root.is_file():
        raise DataError(f"The Labelme folder {root} is a file; name the folder it is in.")
    if not root.is_dir():
        raise DataError(f"The Labelme folder {root} does not exist.")
    found: list[tuple[str, str]] = []
    waiting = [("" if str(root) == "." else str(root), "")]
    while waiting:
        place, below = waiting.pop()
        start = os.path.join(place, "") if place else ""
        files = []
        for entry in _entries(place or "."):
            name = entry.name
            if _is_file(entry):
                files.append(name)
            elif os.path.isdir(entry.path):
                if not name.startswith(".") and not entry.is_symlink():
                    waiting.append((start + name, f"{below}{name}/"))
                continue
            if name.endswith(".json") and not name.startswith("."):
                found.append((below + name, start + name))
        if listings is not None:
            listings.add(place, files)
    if known is not None and len(known) == len(found) and all(path in known for _, path in found):
        return list(known)
    found.sort(key=lambda pair: (_DIGITS.sub(_sortable, pair[0]), pair[0]))
    return [path for _, path in found]


def first_json_files(folder: str | os.PathLike[str], count: int) -> list[str]:
    """Return up to `count` JSON files of a folder and those below it, whichever are met first.

    Args:
        folder: the folder; one that can't be listed has none.
        count: how many.
    """
    found: list[str] = []
    waiting = [os.fspath(folder)]
    while waiting and len(found) < count:
        try:
            with os.scandir(waiting.pop(0)) as entries:
                for entry in entries:
                    if entry.name.startswith("."):
                        continue
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(entry.path)
                    elif entry.name.endswith(".json"):
                        found.append(entry.path)
                        if len(found) == count:
                            break
        except OSError:
            continue
    return found


def _sortable(digits: re.Match[str]) -> str:
    """A number as text that sorts by its value, and before any letter, as in the order of ``natural_key``."""
    value = digits.group().lstrip("0")
    return f"\x01{chr(256 + len(value))}{value}"


class Listings:
    """Which files folders hold. A folder is listed when it is first asked for, and never again."""

    def __init__(self) -> None:
        self._folders: dict[str, frozenset[str]] = {}

    def add(self, folder: str, names: Iterable[str]) -> None:
        """Note the names of a folder's files."""
        self._folders[folder] = frozenset(names)

    def names(self, folder: str) -> frozenset[str]:
        """Return the names of a folder's files; none where there is no such folder."""
        found = self._folders.get(folder)
        if found is None:
            found = self._folders[folder] = _file_names(folder)
        return found


def _file_names(folder: str) -> frozenset[str]:
    try:
        return frozenset(entry.name for entry in os.scandir(folder or ".") if _is_file(entry))
    except (OSError, ValueError):
        return frozenset()


def _is_file(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_file()
    except OSError:
        # A link that leads to itself.
        return False


def _entries(folder: str) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except OSError as error:
        raise DataError(f"The folder {folder} can't be listed: {error.strerror}.") from None
