"""The one place where pictures are read: upright as their EXIF tag says, and never half of one.

OpenCV decodes, Pillow where OpenCV can't. What a file is called doesn't matter, what its bytes are does. A
Labelme JSON is read as the picture embedded in it.
"""

from __future__ import annotations

import base64
import binascii
import io
import json
import os
from collections.abc import Mapping
from typing import IO, Any

import cv2
import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from ..errors import DataError
from ..utils.files import local_path
from .image_signs import is_cut_short, kind_of, wrong_kind
from .pixel_formats import convert_PIL_to_numpy

__all__ = [
    "decode_image",
    "embedded_bytes",
    "embedded_in",
    "image_size",
    "raw_image_size",
    "read_bytes",
    "read_image",
    "read_record_image",
    "record_source",
]

_ORIENTATION_TAG = 0x0112
_FORMATS = ("BGR", "RGB", "L")
_LUMA_BGR = np.array([7471, 38470, 19595], dtype=np.uint32)  # 0.114, 0.587, 0.299 in units of 2**-16


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
        header = _header(io.BytesIO(embedded_bytes(name)))
    else:
        with _open(name) as file:
            _refuse_wrong_kind(file.read(64), name)
            file.seek(0)
            header = _header(file)
    if header is None:
        height, width = decode_image(read_bytes(name), "L", name).shape[:2]
        return height, width, 1
    return header


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
    _refuse_wrong_kind(data[:64], name)
    return data


def embedded_bytes(labelme_json: str | os.PathLike[str]) -> bytes:
    """Return the picture file embedded in a Labelme JSON.

    Raises:
        DataError: where there is none, or it isn't base64.
    """
    name = os.fspath(labelme_json)
    try:
        with _open(name) as file:
            content = json.load(file)
    except (ValueError, UnicodeDecodeError):
        raise DataError(f"The Labelme file {name} is not valid JSON; save it again in Labelme.") from None
    return embedded_in(content, name)


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


def decode_image(data: bytes, format: str | None = "BGR", name: str = "in memory") -> np.ndarray:
    """Decode a picture file's bytes, turned upright as its EXIF orientation says.

    Args:
        data: the whole file.
        format: see :func:`read_image`.
        name: what to call it in messages.

    Returns:
        See :func:`read_image`.

    Raises:
        DataError: for bytes that are no picture, or only a part of one.
    """
    _refuse_wrong_kind(data[:64], name)
    missing = is_cut_short(data)
    if missing:
        raise DataError(f"The image {name} is cut short ({missing}); copy it again.")
    if format not in _FORMATS:
        return _decode_as(data, format, name)
    header = _header(io.BytesIO(data))
    bgr = _decode(data, name)
    upright = _turn(bgr, header[2] if header else 1)
    if format == "BGR":
        return upright
    if format == "RGB":
        return np.ascontiguousarray(upright[:, :, ::-1])
    return _grey(upright)[:, :, None]


def _grey(bgr: np.ndarray) -> np.ndarray:
    """ITU-R BT.601 luma with Pillow's rounding; OpenCV's differs by one here and there."""
    return ((bgr.astype(np.uint32) @ _LUMA_BGR + 0x8000) >> 16).astype(np.uint8)


def _decode_as(data: bytes, format: str | None, name: str) -> np.ndarray:
    """A rare format, by way of Pillow."""
    try:
        with Image.open(io.BytesIO(data)) as image:
            return convert_PIL_to_numpy(ImageOps.exif_transpose(image), format)
    except (OSError, SyntaxError, Image.DecompressionBombError):
        raise _undecodable(name) from None
    except ValueError as error:
        known = ", ".join(_FORMATS)
        raise DataError(f"The image {name} can't be given as {format!r} ({error}); try {known}.") from None


def _decode(data: bytes, name: str) -> np.ndarray:
    """BGR as stored. 4-channel JPEGs and what OpenCV refuses go through Pillow, which knows their colors."""
    flags = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
    bgr = None
    if not _is_cmyk(data):
        try:
            bgr = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
        except cv2.error:
            bgr = None
    if bgr is None:
        bgr = _decode_with_pillow(data)
    if bgr is None:
        raise _undecodable(name)
    return bgr


def _undecodable(name: str) -> DataError:
    return DataError(f"The image {name} can't be decoded; it is damaged or in no known picture format.")


def _decode_with_pillow(data: bytes) -> np.ndarray | None:
    try:
        with Image.open(io.BytesIO(data)) as image:
            rgb = np.asarray(image.convert("RGB"))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return None
    return np.ascontiguousarray(rgb[:, :, ::-1])


def _is_cmyk(data: bytes) -> bool:
    if kind_of(data[:16]) != "JPEG":
        return False
    try:
        with Image.open(io.BytesIO(data)) as image:
            return image.mode == "CMYK"
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return False


def _header(file: IO[bytes]) -> tuple[int, int, int] | None:
    """Height, width and EXIF orientation; None where Pillow can't tell."""
    try:
        with Image.open(file) as image:
            orientation = image.getexif().get(_ORIENTATION_TAG, 1)
            width, height = image.size
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return None
    return height, width, orientation if orientation in range(1, 9) else 1


def _turn(image: np.ndarray, orientation: int) -> np.ndarray:
    """Undo an EXIF orientation: 2-4 mirror or turn by half, 5-8 also swap the sides."""
    if orientation in (5, 6, 7, 8):
        image = image.transpose(1, 0, 2)
    if orientation in (3, 4, 7, 8):
        image = image[::-1]
    if orientation in (2, 3, 6, 7):
        image = image[:, ::-1]
    return np.ascontiguousarray(image)


def _open(name: str) -> io.BufferedReader:
    path = local_path(name)
    try:
        return open(path, "rb")
    except FileNotFoundError:
        raise DataError(f"The image {name} does not exist.") from None
    except IsADirectoryError:
        raise DataError(f"The image {name} is a folder.") from None
    except OSError as error:
        raise DataError(f"The image {name} can't be read: {error.strerror}.") from None
    except ValueError:
        raise DataError(f"The image name {name!r} can't be a file's.") from None


def _refuse_wrong_kind(head: bytes, name: str) -> None:
    reason = wrong_kind(head)
    if reason:
        raise DataError(f"The image {name} {reason}.")
