"""Text and JSON files of any format, read with the same sentences where they can't be."""

from __future__ import annotations

import json
import os
from typing import Any

from ....errors import DataError
from ....utils.files import local_path, open_regular

__all__ = ["read_json", "read_text"]

# Read, JSON takes several times its size; the largest of the public datasets has 1.1 GiB.
_MOST_BYTES = 2 << 30


def read_text(path: str | os.PathLike[str], what: str) -> str:
    """Read a UTF-8 file, with or without a byte order mark.

    Args:
        path: the file, or its address (``https://...``).
        what: what it is, for messages, such as ``"COCO file"``.

    Raises:
        DataError: for a file that is missing, a folder, too large to be read, or no UTF-8 text.
    """
    place = local_path(path)
    try:
        with open_regular(place) as file:
            if os.fstat(file.fileno()).st_size > _MOST_BYTES:
                raise DataError(
                    f"The {what} {path} is larger than {_MOST_BYTES >> 30} GiB, too large to be read at "
                    "once; divide it into several files."
                )
            text = file.read().decode("utf-8-sig")
        return text.replace("\r\n", "\n").replace("\r", "\n") if "\r" in text else text
    except FileNotFoundError:
        raise DataError(f"The {what} {path} does not exist.") from None
    except IsADirectoryError:
        raise DataError(f"The {what} {path} is a folder; name the file in it.") from None
    except UnicodeDecodeError:
        raise DataError(f"The {what} {path} is not UTF-8 text; save it as UTF-8.") from None
    except OSError as error:
        raise DataError(f"The {what} {path} can't be read: {error.strerror}.") from None
    except ValueError as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"The {what} {str(path)!r} can't be a file's name.") from None


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
