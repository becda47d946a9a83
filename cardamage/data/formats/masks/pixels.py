"""Mask PNGs decoded, and regions of equal pixels as run-length masks."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pycocotools.mask as mask_util
from PIL import Image

from ....errors import DataError
from ..pictures.sizes import refuse_huge_png

__all__ = ["decode_mask", "regions", "run_lengths"]

# More than any person draws: such a "mask" is a photo, or noise.
_MOST_REGIONS = 20_000
_MOST_RUNS = 1 << 22
# Pixels of which the runs are looked for at once.
_BLOCK = 1 << 22
_DAMAGE = (OSError, ValueError, SyntaxError, KeyError, IndexError, TypeError, struct.error, zlib.error)


def decode_mask(path: Path, size: tuple[int, int], colors: bool = False) -> np.ndarray:
    """Decode a mask's values; of a palette the numbers, not the colours.

    Args:
        path: the PNG.
        size: (height, width) that it must have.
        colors: whether to give colours as ``red << 16 | green << 8 | blue``.

    Returns:
        (height, width), unsigned integers or bool.

    Raises:
        DataError: for a mask of another size, which is not decoded, one that is damaged, or a coloured one
            where values are asked for.
    """
    refuse_huge_png(path, "mask")
    try:
        with Image.open(path) as image:
            if image.size != (size[1], size[0]):
                raise _wrong_size(path, image.size, size)
            if image.format != "PNG":
                raise DataError(f"The mask {path} is no PNG but {image.format}, which may change its values.")
            array = np.asarray(image.convert("RGB") if colors else image)
    except DataError:
        raise
    except (*_DAMAGE, Image.DecompressionBombError):
        raise DataError(f"The mask {path} can't be decoded; save it again as PNG.") from None
    if colors:
        red, green, blue = np.moveaxis(array.astype(np.uint32), 2, 0)
        return red << 16 | green << 8 | blue
    if array.ndim == 3:
        shades = array[:, :, : 3 if array.shape[2] > 2 else 1]
        if not (shades == shades[:, :, :1]).all():
            raise DataError(
                f"The mask {path} is coloured; name the colours in labelmap.txt, one 'name:red,green,blue' "
                "a line."
            )
        array = shades[:, :, 0]
    return array if array.dtype in (np.bool_, np.uint8) else array.astype(np.uint16)


def _wrong_size(path: Path, found: tuple[int, int], size: tuple[int, int]) -> DataError:
    return DataError(
        f"The mask {path} is {found[0]}x{found[1]} and its image {size[1]}x{size[0]} (width x height); "
        "export the masks at the image's own size."
    )


def regions(values: np.ndarray, wanted: Iterable[int], place: str) -> list[tuple[int, dict[str, Any]]]:
    """Cut index values into regions of pixels that touch, corners included.

    Args:
        values: (height, width).
        wanted: values that count.
        place: the mask, for messages.

    Returns:
        Value and run-length mask of each region, by value, then in order of their rows.

    Raises:
        DataError: for more than 20,000 regions.
    """
    labels: np.ndarray | None = None
    owners: list[int] = []
    for value in wanted:
        count, found = cv2.connectedComponents((values == value).astype(np.uint8), connectivity=8)
        if len(owners) + count - 1 > _MOST_REGIONS:
            raise DataError(f"The mask {place} has more than {_MOST_REGIONS} regions; is it a picture?")
        if labels is None:
            labels = found
        else:
            np.add(found, len(owners), out=labels, where=found > 0)
        owners += [value] * (count - 1)
    return [] if labels is None else list(zip(owners, run_lengths(labels, len(owners), place), strict=True))


def run_lengths(labels: np.ndarray, count: int, place: str) -> list[dict[str, Any]]:
    """Turn a label image into COCO's compressed run-length masks, in one pass over its pixels.

    Args:
        labels: (height, width), 0 for none, else from 1 to `count`.
        count: of labels.
        place: the mask, for messages.

    Raises:
        DataError: for more than 2**22 runs.
    """
    starts = _run_starts(labels, place)
    ends = np.append(starts[1:], labels.size)
    columns, rows = np.divmod(starts, labels.shape[0])
    owner = labels[rows, columns]
    order = np.argsort(owner, kind="stable")
    bounds = np.searchsorted(owner[order], np.arange(1, count + 2))
    masks = []
    for low, high in zip(bounds[:-1], bounds[1:], strict=True):
        of_label = order[low:high]
        edges = np.stack([starts[of_label], ends[of_label]], axis=1).reshape(-1)
        runs = np.diff(np.concatenate([[0], edges, [labels.size]])).tolist()
        masks.append(_compressed(runs if runs[-1] else runs[:-1], labels.shape))
    return masks


def _run_starts(labels: np.ndarray, place: str) -> np.ndarray:
    """Where the label changes, counting pixels down the columns; by blocks of columns."""
    height, width = labels.shape
    step = max(1, _BLOCK // height)
    found = [np.zeros(1, dtype=np.int64)]
    total = 0
    for left in range(0, width, step):
        # One column more on the left, for the change from it.
        before = left - 1 if left else 0
        flat = labels[:, before : left + step].ravel(order="F")
        first = (left - before) * height or 1
        changes = np.flatnonzero(flat[first:] != flat[first - 1 : -1]) + first
        total += len(changes)
        if total > _MOST_RUNS:
            raise DataError(f"The mask {place} has more than {_MOST_RUNS:,} runs; is it a picture?")
        found.append(changes + before * height)
    return np.concatenate(found)


def _compressed(runs: list[int], shape: tuple[int, ...]) -> dict[str, Any]:
    height, width = shape
    rle = mask_util.frPyObjects({"size": [height, width], "counts": runs}, height, width)
    return {"size": [height, width], "counts": rle["counts"].decode("ascii")}
