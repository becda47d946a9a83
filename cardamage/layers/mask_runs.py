"""COCO run lengths from where a mask changes along its columns."""

from __future__ import annotations

from typing import Any

import numpy as np
import pycocotools.mask as mask_util
import torch
from torch.nn import functional as F


def rle_from_positions(positions: np.ndarray, height: int, width: int) -> dict[str, Any]:
    """Encode a mask given by its changes.

    Args:
        positions: increasing flat places ``x * height + y``, before height * width, at which the mask turns
            on, off, on, ...
        height: of the mask.
        width: of the mask.

    Returns:
        ``{"size": [height, width], "counts": bytes}``, as ``pycocotools.mask.encode`` writes.
    """
    counts = np.diff(positions, prepend=0, append=height * width)
    return mask_util.frPyObjects({"size": [height, width], "counts": counts.tolist()}, height, width)


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


def join_runs(positions: np.ndarray, end: int) -> np.ndarray:
    """Drop changes that undo each other (at a column's bottom and the next one's top) or lie at the end."""
    same = positions[1:] == positions[:-1]
    keep = positions < end
    keep[1:] &= ~same
    keep[:-1] &= ~same
    return positions[keep]


def positions_of_changes(inside: torch.Tensor) -> list[np.ndarray]:
    """Find the changes of full-size masks, bool (n, width, height), on any device: one wait for all."""
    flat = inside.flatten(1)
    changes = F.pad(flat, (1, 0))[:, :-1] != flat
    number, place = changes.nonzero(as_tuple=True)
    counts = changes.sum(dim=1)
    return np.split(place.cpu().numpy(), counts.cumsum(0).cpu().numpy()[:-1])
