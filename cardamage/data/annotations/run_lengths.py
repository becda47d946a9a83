"""COCO's compressed run lengths: taken apart, so that a damaged mask is found in time, and compared."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pycocotools.mask as mask_util

__all__ = ["run_lengths", "same_mask"]

_BITS = 5
_MORE, _SIGN = 0x20, 0x10
# Characters of one number: 35 bits, more than any image has pixels.
_LONGEST = 7


def run_lengths(text: str | bytes) -> np.ndarray:
    """Decompress run lengths (``rleFrString`` of cocoapi).

    Every character holds 5 bits, lowest first, and whether more follow; every number but the first three is
    the difference to the number two before it.

    Args:
        text: the ``counts`` of a compressed mask.

    Returns:
        int64 of shape (runs,), zeros and ones in turn; may hold negative numbers where the text is damaged.

    Raises:
        ValueError: for characters that don't occur, or numbers that don't end.
    """
    data = text.encode("ascii") if isinstance(text, str) else text
    chars = np.frombuffer(data, dtype=np.uint8).astype(np.int64) - 48
    if len(chars) == 0:
        return np.zeros(0, dtype=np.int64)
    if chars.min() < 0 or chars.max() > 63:
        raise ValueError("a character that run lengths don't have")
    last = np.flatnonzero(chars & _MORE == 0)
    if len(last) == 0 or last[-1] != len(chars) - 1:
        raise ValueError("the last number has no end")
    first = np.concatenate([[0], last[:-1] + 1])
    lengths = last - first + 1
    if lengths.max() > _LONGEST:
        raise ValueError("a number that is too long")
    shifts = _BITS * (np.arange(len(chars)) - np.repeat(first, lengths))
    numbers = np.add.reduceat((chars & 0x1F) << shifts, first)
    negative = chars[last] & _SIGN != 0
    numbers[negative] -= np.int64(1) << (_BITS * lengths[negative])
    numbers[1::2] = np.cumsum(numbers[1::2])
    numbers[2::2] = np.cumsum(numbers[2::2])
    return numbers


def same_mask(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Tell whether two compressed masks of one size have the same pixels, however their runs are written."""
    if one["counts"] == other["counts"]:
        return True
    return bool(mask_util.iou([one], [other], [0])[0, 0] == 1)
