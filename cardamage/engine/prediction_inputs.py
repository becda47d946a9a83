"""Which files to predict."""

from __future__ import annotations

import glob
import os
from collections.abc import Sequence
from pathlib import Path

from cardamage.data.images.signs import PICTURE_SUFFIXES
from cardamage.errors import DataError

__all__ = ["VIDEO_SUFFIXES", "find_inputs"]

VIDEO_SUFFIXES = frozenset({".mp4", ".avi", ".mov", ".mkv", ".m4v", ".webm", ".mpg", ".mpeg"})


def find_inputs(patterns: str | Sequence[str], skip: Path | None = None) -> list[Path]:
    """Find pictures and videos.

    Args:
        patterns: files, folders (searched with all folders below, by the files' endings) or glob patterns.
        skip: a folder whose files don't count, such as the output of an earlier run.

    Returns:
        The files in order, each once. A file named outright is taken whatever its ending.

    Raises:
        DataError: a pattern matches nothing.
    """
    found: dict[Path, None] = {}
    for pattern in [patterns] if isinstance(patterns, str) else patterns:
        matches = [pattern] if os.path.exists(pattern) else sorted(glob.glob(pattern, recursive=True))
        files = [file for match in matches for file in _files_of(Path(match), skip)]
        if not files:
            raise DataError(f"No picture or video matches {pattern!r}; give a file, a folder or a pattern.")
        found.update(dict.fromkeys(files))
    return list(found)


def _files_of(path: Path, skip: Path | None) -> list[Path]:
    if not path.is_dir():
        return [path]
    known = PICTURE_SUFFIXES | VIDEO_SUFFIXES
    files = sorted(f for f in path.rglob("*") if f.suffix.lower() in known and not f.name.startswith("."))
    if skip is None:
        return [file for file in files if file.is_file()]
    skip = skip.resolve()
    return [file for file in files if file.is_file() and skip not in file.resolve().parents]
