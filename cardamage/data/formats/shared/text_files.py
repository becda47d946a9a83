"""Text and JSON files of any format, read with the same sentences where they can't be."""

from __future__ import annotations

import json
import os
from typing import Any

from ....errors import DataError
from ....utils.files import local_path, open_regular
from ....utils.read_errors import read_errors

__all__ = ["read_json", "read_text"]

# Read, JSON takes several times its size; the largest of the public datasets has 1.1 GiB.
_MOST_BYTES = 2 << 30


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
    try:
        return json.loads(text)
    except ValueError as error:
        line = f" at line {error.lineno}" if isinstance(error, json.JSONDecodeError) else ""
        raise DataError(f"The {what} {path} is not valid JSON{line}; export it again.") from None
    except RecursionError:
        raise DataError(f"The {what} {path} is nested too deeply to be read.") from None
