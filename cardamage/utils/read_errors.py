"""What is said where a file of data can't be read."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from cardamage.errors import DataError

__all__ = ["read_errors"]


@contextmanager
def read_errors(what: str, path: str | os.PathLike[str]) -> Iterator[None]:
    """Turn what goes wrong while a file is opened and read into one sentence.

    Args:
        what: what the file is, such as ``"COCO file"``.
        path: the file, as the user knows it.

    Raises:
        DataError: for a file that is missing, a folder, unreadable, no UTF-8 text where it is decoded, or of
            a name that no file can have.
    """
    try:
        yield
    except FileNotFoundError:
        raise DataError(f"The {what} {path} does not exist.") from None
    except IsADirectoryError:
        raise DataError(f"The {what} {path} is a folder; name the file in it.") from None
    except OSError as error:
        raise DataError(f"The {what} {path} can't be read: {error.strerror}.") from None
    except UnicodeDecodeError:
        raise DataError(f"The {what} {path} is not UTF-8 text; save it as UTF-8.") from None
    except DataError:
        raise
    except ValueError:
        raise DataError(f"The {what} {os.fspath(path)!r} can't be a file's name.") from None
