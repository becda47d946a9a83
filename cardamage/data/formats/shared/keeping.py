"""What caches keep: by what a file is told to be the same, and contents with a checksum."""

from __future__ import annotations

import os
import pickle
import zlib
from contextlib import suppress
from typing import Any

from ....errors import TrainingError
from ....utils.files import atomic_write, describe_write_error
from .packing import plain_loads

__all__ = ["SAME_MOMENT", "Stamp", "load_kept", "save_kept", "stamp_of"]

Stamp = tuple[int, int, int, int]
"""Size, times of the last changes to content and to entry (ns), and number of a file."""

SAME_MOMENT = 2_000_000_000
"""Nanoseconds within which a file system may give two changes one time."""

_BROKEN = (OSError, pickle.UnpicklingError, ValueError, TypeError, KeyError, EOFError, IndexError)


def stamp_of(path: str) -> Stamp | None:
    """Return a file's stamp; None where there is none."""
    try:
        state = os.stat(path)
    except (OSError, ValueError):
        return None
    return state.st_size, state.st_mtime_ns, state.st_ctime_ns, state.st_ino


def save_kept(path: str, content: Any) -> None:
    """Write numbers, texts, bytes, lists, tuples and dicts into a file of a cache.

    Raises:
        TrainingError: where it can't be written.
    """
    data = pickle.dumps(content, pickle.HIGHEST_PROTOCOL)
    try:
        with atomic_write(path, "wb", durable=False) as file:
            file.write(zlib.crc32(data).to_bytes(4, "little") + data)
    except OSError as error:
        raise TrainingError(describe_write_error(os.path.dirname(path), error, "the cache")) from error


def load_kept(path: str) -> Any:
    """Return what :func:`save_kept` wrote, or None where that is missing or damaged. No code is run."""
    with suppress(*_BROKEN), open(path, "rb") as file:
        checksum, data = file.read(4), file.read()
        if zlib.crc32(data).to_bytes(4, "little") == checksum:
            return plain_loads(data)
    return None
