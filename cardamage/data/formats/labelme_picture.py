"""Which picture a Labelme JSON is about."""

from __future__ import annotations

import os
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

import cv2
import numpy as np

from ...errors import DataError
from ..image_io import decode_image, embedded_in, image_size, read_bytes
from .coco_values import as_number

__all__ = ["find_picture", "picture_size"]

_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff")
_THUMB = 32
# Mean difference of two grey thumbnails, in levels of 255. Saving one photo again stays far below it, two
# photographs of cars differ by far more.
_SAME_PHOTO = 12.0


def find_picture(json_path: Path, content: dict[str, Any], root: Path) -> tuple[Path, bool]:
    """Find the picture of a Labelme JSON.

    Args:
        json_path: the JSON.
        content: what it holds.
        root: the dataset's folder. A picture may lie in it or beside it (``../images``), not farther away.

    Returns:
        The picture's path, and whether it must be read from the JSON; the path is the JSON's own then.
        A picture that is nowhere is returned as the path where it should be.
    """
    named = _named(json_path, content)
    beside = next((p for p in _candidates(json_path, named, root) if p.is_file()), None)
    if not content.get("imageData"):
        return (beside or json_path.parent / (named.name or json_path.stem), False)
    if beside is not None and _same_photo(beside, json_path, content):
        return beside, False
    return json_path, True


def picture_size(json_path: Path, content: dict[str, Any], picture: Path) -> tuple[int, int]:
    """Return height and width as the JSON says, or as the picture has where it doesn't say.

    Raises:
        DataError: where neither tells.
    """
    height, width = as_number(content.get("imageHeight")), as_number(content.get("imageWidth"))
    if height is not None and width is not None and height >= 1 and width >= 1:
        return int(height), int(width)
    if not picture.is_file():
        raise DataError(
            f"{json_path} doesn't say the size of its picture, and the image {picture} does not exist."
        )
    return image_size(picture)


def _named(json_path: Path, content: dict[str, Any]) -> PurePosixPath:
    """``imagePath`` with either kind of separator; a drive or a root is taken off."""
    text = content.get("imagePath") or json_path.stem
    windows = PureWindowsPath(str(text))
    return PurePosixPath(*windows.parts[1:]) if windows.anchor else PurePosixPath(windows.as_posix())


def _candidates(json_path: Path, named: PurePosixPath, root: Path) -> list[Path]:
    folder, allowed = json_path.parent, Path(os.path.abspath(root)).parent
    paths = [folder / named, folder / named.name]
    paths += [folder / f"{json_path.stem}{suffix}" for end in _SUFFIXES for suffix in (end, end.upper())]
    return [path for path in paths if Path(os.path.abspath(path)).is_relative_to(allowed)]


def _same_photo(picture: Path, json_path: Path, content: dict[str, Any]) -> bool:
    try:
        embedded = embedded_in(content, str(json_path))
        stored = read_bytes(picture)
        return stored == embedded or _alike(decode_image(stored, "L"), decode_image(embedded, "L"))
    except DataError:
        # A damaged file beside: what is embedded counts. Damaged itself, it is told when it is read.
        return False


def _alike(one: np.ndarray, other: np.ndarray) -> bool:
    if one.shape != other.shape:
        return False
    thumbs = [
        cv2.resize(image, (_THUMB, _THUMB), interpolation=cv2.INTER_AREA).astype(float)
        for image in (one, other)
    ]
    return float(np.abs(thumbs[0] - thumbs[1]).mean()) < _SAME_PHOTO
