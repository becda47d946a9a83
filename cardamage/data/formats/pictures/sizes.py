"""Sizes of many pictures from their headers, all that can't be used told at once."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from pathlib import Path

from ....errors import DataError
from ....utils.files import open_regular
from ...images.decoding import MOST_PIXELS
from ...images.reading import image_size

__all__ = ["picture_sizes", "refuse_huge_png"]

_SHOWN = 20
_PNG = b"\x89PNG\r\n\x1a\n"
_MOST_MASK_PIXELS = 1 << 27


def picture_sizes(paths: Iterable[Path]) -> list[tuple[int, int]]:
    """Read (height, width) of pictures, upright.

    Raises:
        DataError: naming the first 20 pictures that are missing or can't be read.
    """
    sizes, errors = [], []
    for path in paths:
        try:
            refuse_huge_png(path)
            sizes.append(image_size(path))
        except DataError as error:
            errors.append(str(error))
    if errors:
        rest = len(errors) - _SHOWN
        more = [f"... and {rest} more images that can't be used."] if rest > 0 else []
        raise DataError("\n".join(errors[:_SHOWN] + more))
    return sizes


def refuse_huge_png(path: Path, what: str = "image") -> None:
    """Look at a PNG's header before anything is decoded; of other files nothing is said.

    Args:
        path: the file.
        what: ``"image"`` or ``"mask"``.

    Raises:
        DataError: where it claims more than 2**28 pixels, or 2**27 of a mask, whose regions take more memory.
    """
    most = MOST_PIXELS if what == "image" else _MOST_MASK_PIXELS
    try:
        with open_regular(path) as file:
            head = file.read(24)
    except (OSError, ValueError):
        return
    if head.startswith(_PNG) and len(head) == 24:
        width, height = struct.unpack(">II", head[16:])
        if width * height > most:
            raise DataError(
                f"The {what} {path} says it is {width}x{height}, which is more than {most:,} pixels; "
                "it is damaged, or must be made smaller."
            )
