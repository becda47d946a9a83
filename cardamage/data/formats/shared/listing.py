"""What folders hold, of which some hold hundreds of thousands of files: no file is looked at one by one."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["files_in", "folders_in", "listed_once"]

# Names of folders and of all else.
_Listing = tuple[list[str], list[str]]

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
    ends = tuple(suffixes)
    found = [name for name in _listed(folder)[1] if name.lower().endswith(ends)]
    return [name for name in found if os.path.splitext(name)[1]]


def _listed(folder: str | os.PathLike[str]) -> _Listing:
    known = _kept[-1] if _kept else {}
    place = os.fspath(folder)
    if place not in known:
        listing: _Listing = ([], [])
        with os.scandir(place) as entries:
            for entry in entries:
                listing[0 if _is_dir(entry) else 1].append(entry.name)
        known[place] = listing
    return known[place]


def _is_dir(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        # A link that leads to itself.
        return False
