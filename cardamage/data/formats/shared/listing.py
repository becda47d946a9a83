"""What folders hold, of which some hold hundreds of thousands of files: no file is looked at one by one."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from pathlib import Path

__all__ = ["files_in", "folders_in"]


def folders_in(folder: str | os.PathLike[str]) -> list[Path]:
    """Return the folders right below a folder by name, without hidden ones.

    Raises:
        OSError: where it can't be listed.
    """
    found = []
    with os.scandir(folder) as entries:
        for entry in entries:
            if _is_dir(entry) and not entry.name.startswith("."):
                found.append(Path(folder, entry.name))
    return sorted(found)


def files_in(folder: str | os.PathLike[str], suffixes: Collection[str]) -> Iterator[str]:
    """Give the names of a folder's files that have one of some suffixes, in any order.

    Args:
        folder: is not gone into.
        suffixes: in lower case, with their dots.

    Raises:
        OSError: where it can't be listed.
    """
    ends = tuple(suffixes)
    with os.scandir(folder) as entries:
        for entry in entries:
            name = entry.name
            if name.lower().endswith(ends) and os.path.splitext(name)[1] and not _is_dir(entry):
                yield name


def _is_dir(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        # A link that leads to itself.
        return False
