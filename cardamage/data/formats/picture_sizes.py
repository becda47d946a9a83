"""Sizes of many pictures from their headers, all that can't be used told at once."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from pathlib import Path

from ...errors import DataError
from ..image_io import image_size

__all__ = ["picture_sizes", "refuse_huge_png"]

_SHOWN = 20
_PNG = b"\x89PNG\r\n\x1a\n"
# No camera takes more; a header of a few bytes can claim more than memory holds.
_MOST_PIXELS = 1 << 28


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


def refuse_huge_png(path: Path) -> None:
    """Look at a PNG's header before anything is decoded; of other files nothing is said.

    Raises:
        DataError: where it claims more than 2**28 pixels.
    """
    try:
        with open(path, "rb") as file:
            head = file.read(24)
    except (OSError, ValueError):
        return
    if head.startswith(_PNG) and len(head) == 24:
        width, height = struct.unpack(">II", head[16:])
        if width * height > _MOST_PIXELS:
            raise DataError(
                f"The image {path} says it is {width}x{height}, which is more than {_MOST_PIXELS:,} pixels; "
                "it is damaged, or must be made smaller."
            )
