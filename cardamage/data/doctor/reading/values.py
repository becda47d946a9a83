"""Numbers of annotation files, taken as far as they can be."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np

from ....errors import DataError
from ...formats.shared.below import below, is_hidden
from ...formats.shared.values import as_number
from ...images.signs import SUFFIXES
from ..model import Part

__all__ = [
    "IMAGE_SUFFIXES",
    "below",
    "box_of",
    "image_files",
    "is_hidden",
    "off_by_one",
    "off_by_one_text",
    "read_or_note",
    "ring_of",
    "size_of",
]

# Pictures that can't be read are found too, to be told.
IMAGE_SUFFIXES = frozenset(suffix for suffixes in SUFFIXES.values() for suffix in suffixes)
_FARTHEST = 1e9


def ring_of(value: Any) -> np.ndarray | None:
    """Return points from pairs or a flat list, shape (points, 2); None where they are not that."""
    try:
        points = np.asarray(value, dtype=np.float64).reshape(-1, 2)
    except (ValueError, TypeError, OverflowError):
        return None
    return points if (np.abs(points) <= _FARTHEST).all() else None


def size_of(height: Any, width: Any) -> tuple[int, int] | None:
    """Return a stated height and width; None where they are not both numbers of at least 1."""
    h, w = as_number(height), as_number(width)
    if h is None or w is None or not 1 <= h <= _FARTHEST or not 1 <= w <= _FARTHEST:
        return None
    return int(h), int(w)


def box_of(x0: float, y0: float, x1: float, y1: float) -> tuple[float, float, float, float] | None:
    """Return a box of finite numbers, or None."""
    values = (x0, y0, x1, y1)
    return values if all(abs(v) <= _FARTHEST for v in values) else None


def image_files(folder: Path) -> list[Path]:
    """All picture files of a folder and those below it."""
    return list(below(folder, IMAGE_SUFFIXES))


def read_or_note(part: Part, path: Path, read: Any, what: str) -> Any:
    """Read a file with a function of :mod:`~cardamage.data.formats.shared.text_files`.

    Where that fails, D001 is noted and None returned.
    """
    try:
        return read(path, what)
    except DataError as error:
        part.note("D001", path, text=str(error))
    except (OSError, ValueError, MemoryError) as error:
        part.note("D001", path, text=f"can't be read ({error})")
    return None


def off_by_one(used: Collection[int], listed: Collection[int]) -> int:
    """Tell what is to be added to class numbers that are one off; 0 where they aren't, or nobody knows.

    They are where one number is in no list, which is beside an end of it, the other end is not used, and at
    least half of the classes are, and three.

    Args:
        used: numbers that objects have.
        listed: numbers that have names.
    """
    strange = set(used) - set(listed)
    if len(strange) != 1 or not listed or len(used) < max(3, len(listed) / 2):
        return 0
    step = 1 if strange == {min(listed) - 1} else -1 if strange == {max(listed) + 1} else 0
    return step if step and all(number + step in listed for number in used) else 0


def off_by_one_text(used: Collection[int], listed: Collection[int]) -> str:
    """Say what was found by :func:`off_by_one`."""
    return (
        f"objects have the classes {min(used)} to {max(used)}, the list numbers them {min(listed)} to "
        f"{max(listed)}; here they are counted as moved by one"
    )
