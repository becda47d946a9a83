"""Labelme's JSON read without its picture: what is embedded stays text until someone asks for it.

Sizes are bounded, so that no file takes more than a few hundred megabytes to be read.
"""

from __future__ import annotations

import base64
import binascii
import json
import os
import stat
from dataclasses import dataclass
from typing import Any

from ....errors import DataError
from ....utils.read_errors import read_errors
from ...images.signs import LFS_SIGN, kind_of

__all__ = ["LabelmeJson", "parse_labelme", "read_file", "read_labelme_json"]

_KEY = b'"imageData"'
# Shorter ones are not worth cutting out.
_LEAST_CUT = 256
_MOST_BYTES = 1 << 28
# Parsed, and as objects, JSON takes up to 40 times its size.
_MOST_WITHOUT_PICTURE = 1 << 24
_HEAD = 64
_FLAGS = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)


@dataclass
class LabelmeJson:
    """One file.

    Attributes:
        content: what it holds, without ``imageData``.
        embedded: whether there is anything in ``imageData``.
        picture: its base64 text; None where there is none, or where it is no text.
    """

    content: dict[str, Any]
    embedded: bool = False
    picture: bytes | None = None

    def decoded(self, path: str) -> bytes:
        """Return the embedded picture's bytes.

        Raises:
            DataError: where it isn't base64.
        """
        try:
            return base64.b64decode(self.picture or b"", validate=False)
        except (binascii.Error, ValueError):
            raise DataError(
                f"The picture embedded in {path} is not base64; save it again in Labelme."
            ) from None

    def kind(self) -> str | None:
        """Name the format of the embedded picture by its first bytes, or None."""
        head = (self.picture or b"")[:_HEAD]
        try:
            return kind_of(base64.b64decode(head[: len(head) // 4 * 4]))
        except (binascii.Error, ValueError):
            return None


def read_labelme_json(path: str) -> LabelmeJson | None:
    """Read a Labelme file; None for JSON that is something else.

    Raises:
        DataError: for a file that can't be read, is no JSON, or is far larger than any annotation.
    """
    return parse_labelme(read_file(path), path)


def read_file(path: str) -> bytes:
    """Read a file's bytes.

    Raises:
        DataError: for what is missing, a folder, a device, or too large.
    """
    with read_errors("Labelme file", path):
        handle = os.open(path, _FLAGS)
        try:
            state = os.fstat(handle)
            if stat.S_ISDIR(state.st_mode):
                raise IsADirectoryError
            if not stat.S_ISREG(state.st_mode):
                raise DataError(f"The Labelme file {path} is no file but a device or pipe; remove it.")
            if state.st_size > _MOST_BYTES:
                raise DataError(_too_large(path, state.st_size, _MOST_BYTES))
            data = os.read(handle, state.st_size + 1)
            while len(data) < state.st_size and (more := os.read(handle, state.st_size - len(data))):
                data += more
            return data
        finally:
            os.close(handle)


def parse_labelme(data: bytes, path: str) -> LabelmeJson | None:
    """Parse a Labelme file's bytes; None for JSON that is something else.

    Raises:
        DataError: for what is no JSON, or is far larger than any annotation.
    """
    cut = _cut(data)
    if cut is not None:
        start, end = cut
        mark = f"cut: {end - start}"
        content = _parsed(data[:start] + f'"{mark}"'.encode() + data[end:], path)
        # The key may have been a shape's; then the file is read as it is.
        if _is_labelme(content) and content.get("imageData") == mark:
            del content["imageData"]
            return LabelmeJson(content, True, _unescaped(data, start, end))
    content = _parsed(data, path)
    if not _is_labelme(content):
        return None
    picture = content.pop("imageData", None)
    text = picture.encode("utf-8", "replace") if isinstance(picture, str) else None
    return LabelmeJson(content, bool(picture), text or None)


def _cut(data: bytes) -> tuple[int, int] | None:
    """Where a long ``imageData`` lies, with its quotes. Base64 has no quotes to mind."""
    at = data.find(_KEY)
    if at < 0 or data[at - 1 : at] == b"\\":
        return None
    colon = data.find(b":", at + len(_KEY), at + len(_KEY) + 16)
    start = data.find(b'"', colon, colon + 16)
    if colon < 0 or start < 0 or data[colon + 1 : start].strip():
        return None
    end = data.find(b'"', start + 1)
    if end < 0 or end - start < _LEAST_CUT:
        return None
    return start, end + 1


def _unescaped(data: bytes, start: int, end: int) -> bytes:
    """The text of a JSON string with its quotes; base64 in lines has escapes at their ends."""
    if data.find(b"\\", start, end) >= 0:
        try:
            text: str = json.loads(data[start:end], strict=False)
            return text.encode("utf-8", "replace")
        except ValueError:
            pass
    return data[start + 1 : end - 1]


def _is_labelme(content: Any) -> bool:
    shapes = content.get("shapes") if isinstance(content, dict) else None
    return isinstance(shapes, list) and all(isinstance(shape, dict) for shape in shapes)


def _parsed(data: bytes, path: str) -> Any:
    if len(data) > _MOST_WITHOUT_PICTURE:
        raise DataError(_too_large(path, len(data), _MOST_WITHOUT_PICTURE, " without its picture"))
    if data.startswith(LFS_SIGN):
        raise DataError(
            f"The Labelme file {path} is a Git LFS pointer; run 'git lfs pull' where it was cloned."
        )
    try:
        return json.loads(data)
    except UnicodeDecodeError:
        raise DataError(f"The Labelme file {path} is not UTF-8 text; save it as UTF-8.") from None
    except ValueError as error:
        line = f" at line {error.lineno}" if isinstance(error, json.JSONDecodeError) else ""
        raise DataError(f"The Labelme file {path} is not valid JSON{line}; export it again.") from None
    except RecursionError:
        raise DataError(f"The Labelme file {path} is nested too deeply to be read.") from None


def _too_large(path: str, size: int, most: int, part: str = "") -> str:
    return (
        f"The Labelme file {path} has {size / 2**20:.0f} MB{part}, and no more than {most >> 20} MB can be "
        "read; make it smaller or take it out of the folder."
    )
