"""COCO run lengths from where masks change along their columns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F

__all__ = ["encode_positions", "positions_of_changes", "rles_from_positions", "window_positions"]

# A number is written five bits a character, from "0" on; a sixth bit tells that more follow.
_BITS = 5
_MORE = 1 << _BITS
_FIRST = ord("0")


def rles_from_positions(
    positions: np.ndarray, counts: np.ndarray, sizes: Sequence[tuple[int, int]]
) -> list[dict[str, Any]]:
    """Encode masks given by their changes, all at once.

    Args:
        positions: of one mask after another, the increasing flat places ``x * height + y``, before
            height * width, at which it turns on, off, on, ...
        counts: how many of these every mask has.
        sizes: every mask's (height, width).

    Returns:
        For every mask ``{"size": [height, width], "counts": bytes}``, as ``pycocotools.mask.encode`` writes.
    """
    if len(sizes) == 0:
        return []
    counts = np.asarray(counts, dtype=np.int64)
    numbers = _numbers(positions, counts, np.array([h * w for h, w in sizes], dtype=np.int64))
    text, lengths = _characters(numbers)
    ends = lengths.cumsum()[(counts + 1).cumsum() - 1].tolist()
    starts = [0, *ends[:-1]]
    parts = zip(sizes, starts, ends, strict=True)
    return [{"size": [int(h), int(w)], "counts": text[start:end]} for (h, w), start, end in parts]


def _numbers(positions: np.ndarray, counts: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """Return all masks' run lengths, from the fourth of a mask on as differences to the last but one."""
    # Of every mask: the start, the changes, the end.
    bounds = np.zeros(len(positions) + 2 * len(counts), dtype=np.int64)
    last = (counts + 2).cumsum() - 1
    first = last - counts - 1
    inner = np.ones(len(bounds), dtype=bool)
    inner[first] = inner[last] = False
    bounds[inner] = positions
    bounds[last] = ends
    runs = np.delete(np.diff(bounds), last[:-1])
    place = np.arange(len(runs)) - (first - np.arange(len(first))).repeat(counts + 1)
    numbers = runs.copy()
    numbers[2:] -= np.where(place[2:] > 2, runs[:-2], 0)
    return numbers


def _characters(numbers: np.ndarray) -> tuple[bytes, np.ndarray]:
    """Write signed numbers in as few groups of bits as hold them; return the text and each one's length."""
    # The sign needs a bit, too; a negative number needs as many as the one below its absolute value.
    left = np.where(numbers < 0, ~numbers, numbers) >> (_BITS - 1)
    lengths = np.ones(len(numbers), dtype=np.int64)
    while left.any():
        lengths += left > 0
        left >>= _BITS
    ends = lengths.cumsum()
    text = np.empty(int(ends[-1]), dtype=np.uint8)
    place, count = ends - lengths, lengths
    while len(place):
        more = count > 1
        text[place] = (numbers & (_MORE - 1)) + (more * _MORE + _FIRST)
        rest = np.flatnonzero(more)
        place, count, numbers = place[rest] + 1, count[rest] - 1, numbers[rest] >> _BITS
    return text.tobytes(), lengths


def encode_positions(
    positions: Sequence[np.ndarray], sizes: Sequence[tuple[int, int]]
) -> list[dict[str, Any]]:
    """Encode masks given by changes that may undo each other.

    Args:
        positions: every mask's changes, as :func:`window_positions` finds them.
        sizes: every mask's (height, width).

    Returns:
        As :func:`rles_from_positions`.
    """
    if len(sizes) == 0:
        return []
    places = np.concatenate(positions)
    owner = np.arange(len(sizes)).repeat([len(part) for part in positions])
    ends = np.array([h * w for h, w in sizes], dtype=np.int64)
    return rles_from_positions(*_join_runs(places, owner, ends), sizes)


def _join_runs(positions: np.ndarray, owner: np.ndarray, ends: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Drop changes that undo each other (at a column's bottom and the next one's top) or lie at the end.

    Args:
        positions: the flat places of one mask after another, in pairs of on and off.
        owner: which mask each is of, ascending.
        ends: every mask's height * width.

    Returns:
        The places that remain, and how many every mask has.
    """
    same = (positions[1:] == positions[:-1]) & (owner[1:] == owner[:-1])
    keep = positions < ends[owner]
    keep[1:] &= ~same
    keep[:-1] &= ~same
    return positions[keep], np.bincount(owner[keep], minlength=len(ends))


def window_positions(inside: np.ndarray, x0: int, y0: int, height: int) -> np.ndarray:
    """Find the changes of a mask inside a window.

    Args:
        inside: bool (columns, rows) of the window.
        x0: the window's first column in the image.
        y0: the window's first row in the image.
        height: of the image.

    Returns:
        Flat places ``x * height + y`` of changes, in pairs of on and off. The last may be the image's end,
        and an off may coincide with the on of the next column.
    """
    columns, rows = inside.shape
    padded = np.zeros((columns, rows + 2), dtype=bool)
    padded[:, 1:-1] = inside
    column, row = np.divmod(np.flatnonzero(padded[:, 1:] != padded[:, :-1]), rows + 1)
    return (column + x0) * height + (row + y0)


def positions_of_changes(inside: torch.Tensor) -> list[np.ndarray]:
    """Find the changes of full-size masks, bool (n, width, height), on any device: one wait for all."""
    flat = inside.flatten(1)
    changes = F.pad(flat, (1, 0))[:, :-1] != flat
    number, place = changes.nonzero(as_tuple=True)
    counts = changes.sum(dim=1)
    return np.split(place.cpu().numpy(), counts.cumsum(0).cpu().numpy()[:-1])
