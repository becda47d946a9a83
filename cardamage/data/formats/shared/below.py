"""The files of a folder and of those below it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from .natural_order import natural_key

__all__ = ["below", "is_hidden"]


def below(folder: Path, suffixes: Iterable[str]) -> Iterator[Path]:
    """All files of a folder and those below it with one of the suffixes, hidden ones left out, in order."""
    wanted = frozenset(suffixes)
    found = [
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in wanted and not is_hidden(path.relative_to(folder).parts)
    ]
    return iter(sorted(found, key=lambda path: natural_key(path.relative_to(folder).as_posix())))


def is_hidden(parts: Iterable[str]) -> bool:
    """Whether a path leads to what systems put beside files: ``._a.jpg``, ``__MACOSX``, caches."""
    return any(part.startswith(".") or part == "__MACOSX" for part in parts)
