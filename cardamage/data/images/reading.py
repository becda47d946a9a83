"""The one place where pictures are read: upright as their EXIF tag says, and never half of one.

What a file is called doesn't matter, what its bytes are does. A Labelme JSON is read as the picture embedded
in it.
"""

from __future__ import annotations

import base64
import binascii
import io
import json
import os
from collections.abc import Mapping
from typing import IO, Any

import numpy as np

from ...errors import DataError
from ...utils.files import local_path, open_regular
from ...utils.read_errors import read_errors
from .decoding import EncodedImage, Header, decode_image, read_header, refuse_wrong_kind

__all__ = [
    "decode_image",
    "embedded_bytes",
    "embedded_header",
    "embedded_in",
    "image_size",
    "open_record_image",
    "raw_image_size",
    "read_bytes",
    "read_head",
    "read_image",
    "read_record_image",
    "record_source",
]

# Characters of base64, multiples of four, that are tried: behind a thumbnail's 64 KB a header goes on.
_HEAD_TEXTS = (1 << 13, 1 << 16, 1 << 18)


def read_image(file_name: str | os.PathLike[str], format: str | None = None) -> np.ndarray:
    """Read a picture, turned upright as its EXIF orientation says.

    Args:
        file_name: a picture, or a Labelme JSON with one embedded; a path or an address (``https://...``).
        format: ``"BGR"``, ``"RGB"``, ``"L"`` (grey), ``"YUV-BT.601"``, another of Pillow's modes, or None to
            keep what the file has (which is RGB for a JPEG photo).

    Returns:
        uint8 of shape (height, width, 3), or (height, width, 1) for ``"L"``. Alpha is dropped and 16 bits
        become 8, unless the format says otherwise. YUV is floating, its Y in [0, 1].

    Raises:
        DataError: for a file that is missing, a folder, empty, a Git LFS pointer, text, cut short or
            undecodable.
    """
    return decode_image(read_bytes(file_name), format, os.fspath(file_name))


def read_record_image(record: Mapping[str, Any], format: str = "BGR") -> np.ndarray:
    """Read the picture of a dataset dict, as :func:`read_image` does."""
    return read_image(record_source(record), format)


def open_record_image(record: Mapping[str, Any], format: str = "BGR") -> EncodedImage:
    """Read the picture file of a dataset dict without decoding it.

    Args:
        record: a dataset dict.
        format: see :func:`read_image`.

    Returns:
        The picture, to be decoded.

    Raises:
        DataError: as :func:`read_image`, but for what only decoding shows.
    """
    source = record_source(record)
    return EncodedImage(read_bytes(source), format, source)


def record_source(record: Mapping[str, Any]) -> str:
    """Return the file that holds a dataset dict's picture: the Labelme JSON where it is embedded in one."""
    embedded = record.get("image_bytes_from")
    return str(embedded["labelme_json"] if embedded else record["file_name"])


def image_size(path: str | os.PathLike[str]) -> tuple[int, int]:
    """Read a picture's (height, width) as :func:`read_image` would return it, from the header only.

    Raises:
        DataError: for a file that is missing, a folder, empty, a Git LFS pointer, text or undecodable.
    """
    height, width, orientation = raw_image_size(path)
    return (width, height) if orientation >= 5 else (height, width)


def raw_image_size(path: str | os.PathLike[str]) -> tuple[int, int, int]:
    """Read a picture's stored (height, width, EXIF orientation from 1 to 8) from the header only.

    Raises:
        DataError: as :func:`image_size`.
    """
    name = os.fspath(path)
    if name.lower().endswith(".json"):
        header = embedded_header(_embedded_text(name) or b"") or read_header(io.BytesIO(embedded_bytes(name)))
    else:
        with _open(name) as file:
            refuse_wrong_kind(file.read(64), name)
            file.seek(0)
            header = read_header(file)
    if header is None:
        height, width = decode_image(read_bytes(name), "L", name).shape[:2]
        return height, width, 1
    return header.height, header.width, header.orientation


def read_bytes(path: str | os.PathLike[str]) -> bytes:
    """Read the bytes of a picture, or those embedded in a Labelme JSON.

    Raises:
        DataError: for a file that is missing, a folder, unreadable, empty, a Git LFS pointer or text.
    """
    name = os.fspath(path)
    if name.lower().endswith(".json"):
        return embedded_bytes(name)
    with _open(name) as file:
        data = file.read()
    refuse_wrong_kind(data[:64], name)
    return data


def read_head(path: str | os.PathLike[str], size: int = 64) -> bytes:
    """Read the first bytes of a picture file.

    Raises:
        DataError: as :func:`read_bytes`.
    """
    name = os.fspath(path)
    with _open(name) as file:
        head = file.read(size)
    refuse_wrong_kind(head, name)
    return head


def embedded_bytes(labelme_json: str | os.PathLike[str]) -> bytes:
    """Return the picture file embedded in a Labelme JSON.

    Raises:
        DataError: where there is none, or it isn't base64.
    """
    name = os.fspath(labelme_json)
    text = _embedded_text(name)
    if text is not None:
        return embedded_in({"imageData": text}, name)
    try:
        with _open(name) as file:
            content = json.load(file)
    except (ValueError, UnicodeDecodeError):
        raise DataError(f"The Labelme file {name} is not valid JSON; save it again in Labelme.") from None
    return embedded_in(content, name)


def _embedded_text(name: str) -> bytes | None:
    """The base64 of a picture in a Labelme JSON, found without parsing it; None where that can't be done."""
    # Imported late: the formats read pictures.
    from ..formats.labelme.content import read_labelme_json

    try:
        file = read_labelme_json(name)
    except DataError:
        return None
    return None if file is None else file.picture


def embedded_header(text: bytes) -> Header | None:
    """Read the header of a picture in base64, decoding no more of it than that takes.

    Args:
        text: the base64, or its first part.

    Returns:
        None where what there is does not tell.
    """
    for end in _HEAD_TEXTS:
        try:
            header = read_header(io.BytesIO(base64.b64decode(text[:end])))
        except (binascii.Error, ValueError):
            return None
        if header is not None or end >= len(text):
            return header
    return None


def embedded_in(content: Any, name: str) -> bytes:
    """Return the picture file embedded in a Labelme JSON that is read already.

    Args:
        content: of the JSON.
        name: the JSON's path, for messages.

    Raises:
        DataError: where there is none, or it isn't base64.
    """
    text = content.get("imageData") if isinstance(content, dict) else None
    if not text:
        raise DataError(f"The Labelme file {name} has no picture embedded (its imageData is empty).")
    try:
        return base64.b64decode(text, validate=False)
    except (binascii.Error, ValueError, TypeError):
        raise DataError(f"The picture embedded in {name} is not base64; save it again in Labelme.") from None


def _open(name: str) -> IO[bytes]:
    with read_errors("image", name):
        return open_regular(local_path(name))
