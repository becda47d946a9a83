"""What folders hold, of which some hold hundreds of thousands of files: no file is looked at one by one."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["files_in", "folders_in", "listed_once"]

# Names of folders, and of all else by their suffixes in lower case.
_Listing = tuple[list[str], dict[str, list[str]]]

# Of each folder, while listings are kept.
_kept: list[dict[str, _Listing]] = []


@contextmanager
def listed_once() -> Iterator[None]:
    """List each folder only once for as long as this lasts, for questions about one state of the disk."""
    _kept.append({})
    try:
        yield
    finally:
        _kept.pop()


def folders_in(folder: str | os.PathLike[str]) -> list[Path]:
    """Return the folders right below a folder by name, without hidden ones.

    Raises:
        OSError: where it can't be listed.
    """
    return sorted(Path(folder, name) for name in _listed(folder)[0] if not name.startswith("."))


def files_in(folder: str | os.PathLike[str], suffixes: Collection[str]) -> list[str]:
    """Return the names of a folder's files that have one of some suffixes, in any order.

    Args:
        folder: is not gone into.
        suffixes: in lower case, with their dots.

    Raises:
        OSError: where it can't be listed.
    """
    by_suffix = _listed(folder)[1]
    return [name for suffix in suffixes for name in by_suffix.get(suffix, ()) if os.path.splitext(name)[1]]


def _listed(folder: str | os.PathLike[str]) -> _Listing:
    known = _kept[-1] if _kept else {}
    place = os.fspath(folder)
    if place not in known:
        folders: list[str] = []
        files: dict[str, list[str]] = defaultdict(list)
        with os.scandir(place) as entries:
            for entry in entries:
                name = entry.name
                if _is_dir(entry):
                    folders.append(name)
                else:
                    files[name[name.rfind(".") :].lower()].append(name)
        known[place] = folders, files
    return known[place]


def _is_dir(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        # A link that leads to itself.
        return False
