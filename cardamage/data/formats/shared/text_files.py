"""Text and JSON files of any format, read with the same sentences where they can't be."""

from __future__ import annotations

import json
import os
from typing import Any

from ....errors import DataError
from ....utils.files import local_path, open_regular
from ....utils.heap import available_memory
from ....utils.read_errors import read_errors

__all__ = ["read_json", "read_text"]

# Read, JSON takes several times its size; the largest of the public datasets has 1.1 GiB.
_MOST_BYTES = 2 << 30
# Texts below this are read without asking how much memory there is.
_LARGE = 1 << 26
# Bytes that CPython's objects take at least for each of these signs in JSON.
_BYTES_OF_SIGN = {"{": 240, "[": 64, ",": 34, '"': 15}
_SHARE_OF_MEMORY = 0.8


def read_text(path: str | os.PathLike[str], what: str, most: int | None = None) -> str:
    """Read a UTF-8 file, with or without a byte order mark.

    Args:
        path: the file, or its address (``https://...``).
        what: what it is, for messages, such as ``"COCO file"``.
        most: bytes that such a file may have.

    Raises:
        DataError: for a file that is missing, a folder, too large to be read, or no UTF-8 text.
    """
    place = local_path(path)
    with read_errors(what, path), open_regular(place) as file:
        size = os.fstat(file.fileno()).st_size
        if most is not None and size > most:
            limit = f"{most >> 20} MB" if most >> 20 else f"{most >> 10} kB"
            raise DataError(f"The {what} {path} is larger than {limit}, which none is; is it another file?")
        if size > _MOST_BYTES:
            raise DataError(
                f"The {what} {path} is larger than {_MOST_BYTES >> 30} GiB, too large to be read at once; "
                "divide it into several files."
            )
        text = file.read().decode("utf-8-sig")
    return text.replace("\r\n", "\n").replace("\r", "\n") if "\r" in text else text


def read_json(path: str | os.PathLike[str], what: str) -> Any:
    """Read a JSON file.

    Raises:
        DataError: as :func:`read_text`, and where it is no JSON.
    """
    text = read_text(path, what)
    if text.startswith("version https://git-lfs.github.com/spec/"):
        raise DataError(f"The {what} {path} is a Git LFS pointer; run 'git lfs pull' where it was cloned.")
    _refuse_what_memory_cannot_hold(text, path, what)
    try:
        return json.loads(text)
    except ValueError as error:
        raise DataError(f"The {what} {path} {_json_trouble(text, error)}") from None
    except MemoryError:
        raise DataError(f"The {what} {path} takes more memory than there is; divide it.") from None
    except RecursionError:
        raise DataError(f"The {what} {path} is nested too deeply to be read.") from None


def _refuse_what_memory_cannot_hold(text: str, path: str | os.PathLike[str], what: str) -> None:
    """Look at large JSON before it is read: ``[[],[],...`` takes twenty times its size."""
    if len(text) < _LARGE:
        return
    free = available_memory()
    needed = len(text) + sum(text.count(sign) * size for sign, size in _BYTES_OF_SIGN.items())
    if free is not None and needed > _SHARE_OF_MEMORY * free:
        raise DataError(
            f"The {what} {path} would take about {needed / 2**30:.1f} GiB of memory once it is read, and "
            f"{free / 2**30:.1f} GiB are free; divide it into several files."
        )


def _json_trouble(text: str, error: ValueError) -> str:
    if not text.strip():
        return "is empty; copy or export it again."
    if not isinstance(error, json.JSONDecodeError):
        return "is not valid JSON; export it again."
    if error.pos >= len(text.rstrip()) or error.msg.startswith("Unterminated"):
        return f"is not valid JSON: it ends in the middle, at line {error.lineno}; copy or export it again."
    place = f" at line {error.lineno}" if error.lineno > 1 else f" at character {error.pos + 1:,}"
    return f"is not valid JSON{place}; export it again."
