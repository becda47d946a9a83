"""Small masks pasted into images on a GPU, as pictures or as the places where they change, in Triton.

The arithmetic is that of ``grid_sample`` on a CPU to the bit: a product and a sum are one operation where
they are one there, and else are two. So a GPU's masks are a CPU's.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import triton
import triton.language as tl

__all__ = ["find_changes", "paste"]

_ROWS = 32
_COLUMNS = 128
# Tiles to find changes in: a column is walked from top to bottom.
_WALK_ROWS = 64
_WALK_COLUMNS = 32


@triton.jit
def _cells(pixel, low, high, half):
    """Return which cell is before each pixel's centre, and the weights of that cell and of the next one."""
    place = tl.math.div_rn(pixel.to(tl.float32) + 0.5 - low, high - low) * 2.0 - 1.0
    at = tl.fma(place + 1.0, half, -0.5)
    before = tl.floor(at)
    weight = at - before
    return before, 1.0 - weight, weight


@triton.jit
def _tap(mask, y, x, cells):
    """Return the mask's cells (rows, columns), zero beyond its edges and where a place is not a number."""
    inside = ((y >= 0) & (y < cells))[:, None] & ((x >= 0) & (x < cells))[None, :]
    place = y.to(tl.int32)[:, None] * cells + x.to(tl.int32)[None, :]
    return tl.load(mask + tl.where(inside, place, 0), mask=inside, other=0.0)


@triton.jit
def _inside(mask, x0, y0, x1, y1, row, column, cells, threshold):
    """Tell for pixels (rows, columns) whether they belong to the object; only those near its box can."""
    half = cells.to(tl.float32) * 0.5
    x, left, right = _cells(column, x0, x1, half)
    y, upper, lower = _cells(row, y0, y1, half)
    value = _tap(mask, y, x, cells) * (upper[:, None] * left[None, :])
    value = tl.fma(_tap(mask, y, x + 1, cells), upper[:, None] * right[None, :], value)
    value = tl.fma(_tap(mask, y + 1, x, cells), lower[:, None] * left[None, :], value)
    value = tl.fma(_tap(mask, y + 1, x + 1, cells), lower[:, None] * right[None, :], value)
    near_x = (column >= tl.floor(x0) - 1) & (column < tl.ceil(x1) + 1)
    near_y = (row >= tl.floor(y0) - 1) & (row < tl.ceil(y1) + 1)
    return (value >= threshold) & near_y[:, None] & near_x[None, :]


@triton.jit(do_not_specialize=["height", "cells"])
def _paste(masks, boxes, image, height, width, cells, threshold, ROWS: tl.constexpr, COLUMNS: tl.constexpr):
    number = tl.program_id(2).to(tl.int64)
    x0 = tl.load(boxes + number * 4)
    y0 = tl.load(boxes + number * 4 + 1)
    x1 = tl.load(boxes + number * 4 + 2)
    y1 = tl.load(boxes + number * 4 + 3)
    first_column = tl.program_id(0) * COLUMNS
    first_row = tl.program_id(1) * ROWS
    column = first_column + tl.arange(0, COLUMNS)
    row = first_row + tl.arange(0, ROWS)
    meets_x = (first_column < tl.ceil(x1) + 1) & (first_column + COLUMNS > tl.floor(x0) - 1)
    meets_y = (first_row < tl.ceil(y1) + 1) & (first_row + ROWS > tl.floor(y0) - 1)
    inside = tl.zeros((ROWS, COLUMNS), dtype=tl.int8)
    if meets_x & meets_y:
        mask = masks + number * cells * cells
        inside = _inside(mask, x0, y0, x1, y1, row, column, cells, threshold).to(tl.int8)
    place = image + (number * height + row)[:, None] * width + column[None, :]
    tl.store(place, inside, mask=(row < height)[:, None] & (column < width)[None, :])


@triton.jit(do_not_specialize=["stride", "cells"])
def _changes(
    masks,
    boxes,
    sizes,
    counts,
    starts,
    positions,
    stride,
    cells,
    threshold,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
    WRITE: tl.constexpr,
):
    """Count every column's changes, from outside to inside or back; or write where they are."""
    number = tl.program_id(1).to(tl.int64)
    height = tl.load(sizes + number * 2)
    width = tl.load(sizes + number * 2 + 1)
    x0 = tl.load(boxes + number * 4)
    y0 = tl.load(boxes + number * 4 + 1)
    x1 = tl.load(boxes + number * 4 + 2)
    y1 = tl.load(boxes + number * 4 + 3)
    first_column = tl.program_id(0) * COLUMNS
    right = tl.minimum(tl.ceil(x1) + 1, width.to(tl.float32))
    if (first_column < right) & (first_column + COLUMNS > tl.floor(x0) - 1) & (y1 == y1) & (y0 == y0):
        column = first_column + tl.arange(0, COLUMNS)
        mask = masks + number * cells * cells
        top = tl.maximum(tl.minimum(tl.floor(y0) - 1, height.to(tl.float32)), 0.0).to(tl.int32)
        bottom = tl.maximum(tl.minimum(tl.ceil(y1) + 1, height.to(tl.float32)), 0.0).to(tl.int32)
        found = tl.zeros((COLUMNS,), dtype=tl.int32)
        at = number * stride + column
        if WRITE:
            start = tl.load(starts + at, mask=column < width, other=0)
        # Below the last row all is outside, so that every column ends outside.
        for first_row in range(top, bottom + 1, ROWS):
            row = first_row + tl.arange(0, ROWS)
            now = _inside(mask, x0, y0, x1, y1, row, column, cells, threshold)
            before = _inside(mask, x0, y0, x1, y1, row - 1, column, cells, threshold)
            now = now & (row < bottom)[:, None]
            before = before & ((row > top) & (row <= bottom))[:, None]
            change = ((now != before) & (column < width)[None, :]).to(tl.int32)
            if WRITE:
                rank = start[None, :] + (found[None, :] + tl.cumsum(change, axis=0) - 1)
                flat = column.to(tl.int64)[None, :] * height + row[:, None]
                tl.store(positions + rank, flat, mask=change != 0)
            found += tl.sum(change, axis=0)
        if not WRITE:
            tl.store(counts + at, found, mask=column < width)


def paste(
    masks: torch.Tensor, boxes: torch.Tensor, height: int, width: int, threshold: float
) -> torch.Tensor:
    """Paste masks as :func:`cardamage.layers.paste_masks_in_image`; the host does not wait.

    Args:
        masks: (R, M, M).
        boxes: (R, 4) float32.
        height: of the image.
        width: of the image.
        threshold: pixels at least this probable are inside, from 0.

    Returns:
        bool (R, height, width).
    """
    image = torch.empty(len(masks), height, width, dtype=torch.int8, device=masks.device)
    if image.numel() == 0:
        return image.view(torch.bool)
    grid = (triton.cdiv(width, _COLUMNS), triton.cdiv(height, _ROWS), len(masks))
    arguments = (masks.float().contiguous(), boxes.contiguous(), image, height, width, masks.shape[-1])
    with torch.cuda.device_of(masks):
        _paste[grid](*arguments, float(threshold), _ROWS, _COLUMNS, enable_fp_fusion=False)
    return image.view(torch.bool)


def find_changes(
    masks: torch.Tensor, boxes: torch.Tensor, sizes: Sequence[tuple[int, int]], threshold: float
) -> list[np.ndarray]:
    """Find where pasted masks change along their columns, without pasting them.

    Args:
        masks: (R, M, M).
        boxes: (R, 4) float32.
        sizes: every mask's image's (height, width).
        threshold: pixels at least this probable are inside, from 0.

    Returns:
        Every mask's changes, see :func:`cardamage.layers.mask_runs.window_positions`. The host waits twice:
        for their number and for themselves.
    """
    widest = max((width for _, width in sizes), default=0)
    if widest == 0:
        return [np.zeros(0, dtype=np.int64) for _ in sizes]
    device = masks.device
    counts = torch.zeros(len(masks), widest, dtype=torch.int32, device=device)
    shapes = torch.tensor(sizes, dtype=torch.int32).to(device, non_blocking=True)
    grid = (triton.cdiv(widest, _WALK_COLUMNS), len(masks))
    given = (masks.float().contiguous(), boxes.contiguous(), shapes, counts)
    options = (widest, masks.shape[-1], float(threshold), _WALK_ROWS, _WALK_COLUMNS)
    with torch.cuda.device_of(masks):
        _changes[grid](*given, counts, counts, *options, False, enable_fp_fusion=False)
        ends = counts.flatten().cumsum(0)
        starts = ends - counts.flatten()
        last = [0, *ends[widest - 1 :: widest].tolist()]
        positions = torch.empty(last[-1], dtype=torch.int64, device=device)
        _changes[grid](*given, starts, positions, *options, True, enable_fp_fusion=False)
    return np.split(positions.cpu().numpy(), last[1:-1])
