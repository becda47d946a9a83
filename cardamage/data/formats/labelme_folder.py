"""A folder's JSON files in natural order, and which files lie where, each folder listed once."""

from __future__ import annotations

import os
from pathlib import Path

from ...errors import DataError
from .reading import natural_key

__all__ = ["Listings", "json_files"]


def json_files(folder: str | os.PathLike[str]) -> list[str]:
    """List the JSON files of a folder and the folders below it, in natural order of their names.

    Hidden ones are left out, links to folders are not followed.

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
    found: list[tuple[list[tuple[int, int, str]], str]] = []
    start = "" if str(root) == "." else str(root)
    waiting = [(start, "")]
    while waiting:
        place, below = waiting.pop()
        for entry in _entries(place or "."):
            name = entry.name
            if name.startswith("."):
                continue
            relative = f"{below}{name}"
            if entry.is_dir(follow_symlinks=False):
                waiting.append((os.path.join(place, name), f"{relative}/"))
            elif name.endswith(".json") and not entry.is_dir():
                found.append((natural_key(relative), os.path.join(place, name)))
    found.sort()
    return [path for _, path in found]


class Listings:
    """Which files folders hold. A folder is listed when it is first asked for, and never again."""

    def __init__(self) -> None:
        self._folders: dict[str, frozenset[str]] = {}

    def names(self, folder: str) -> frozenset[str]:
        """Return the names of a folder's files; none where there is no such folder."""
        found = self._folders.get(folder)
        if found is None:
            found = self._folders[folder] = _file_names(folder)
        return found


def _file_names(folder: str) -> frozenset[str]:
    try:
        return frozenset(entry.name for entry in os.scandir(folder or ".") if entry.is_file())
    except (OSError, ValueError):
        return frozenset()


def _entries(folder: str) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except OSError as error:
        raise DataError(f"The folder {folder} can't be listed: {error.strerror}.") from None
