"""Bilinear samples of small masks at the pixels of an image.

A mask's cell has its value at the cell's centre; between centres values are interpolated, and outside the
mask they are zero. The weights of rows and columns are independent, so a column of the picture is a mix of
two of at most M + 2 stretched mask columns, and each pixel costs two products.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional as F

# Pixels sampled at a time on the CPU: their values stay in the cache.
_CHUNK_PIXELS = 2**19
# Values this close to the threshold are sampled again in the field's own order of operations.
_DOUBT = 2e-5


@dataclass(frozen=True)
class Window:
    """The pixels ``x0 <= x < x1`` and ``y0 <= y < y1`` of an image."""

    x0: int
    y0: int
    x1: int
    y1: int


@dataclass(frozen=True)
class _Axis:
    """Where pixels fall on one side of masks: n masks, L pixels.

    Attributes:
        place: (n, L) from -1 to 1 across the mask, what ``grid_sample`` takes.
        index: (n, L) int64 of the lower of two cells in a mask padded by one cell of zeros.
        weight: (n, L) of the upper cell.
    """

    place: torch.Tensor
    index: torch.Tensor
    weight: torch.Tensor

    def part(self, masks: slice, pixels: slice) -> _Axis:
        """Return some masks' pixels."""
        return _Axis(*(values[masks, pixels] for values in (self.place, self.index, self.weight)))


def paste_windows(boxes: torch.Tensor, height: int, width: int) -> list[Window]:
    """Return, for boxes (R, 4), the pixels in or within one pixel of each; the host waits for the device."""
    limit = torch.tensor([width, height, width, height], dtype=torch.float32, device=boxes.device)
    low, high = boxes[:, :2].floor() - 1, boxes[:, 2:].ceil() + 1
    edges = torch.cat((low, high), dim=1).nan_to_num(nan=0.0).clamp(min=0)
    return [Window(*row) for row in torch.minimum(edges, limit).to(torch.int64).tolist()]


class WindowSampler:
    """Samples masks on the CPU, each in the window of its box.

    What is cut at a threshold is exactly what ``grid_sample`` gives; grey values are as close as float32 lets
    them.
    """

    def __init__(
        self,
        masks: torch.Tensor,
        boxes: torch.Tensor,
        height: int,
        width: int,
        threshold: float,
        by_columns: bool = True,
    ) -> None:
        """Prepare to sample masks.

        Args:
            masks: (R, M, M).
            boxes: (R, 4).
            height: of the image.
            width: of the image.
            threshold: where to cut; below 0 for grey values.
            by_columns: lay the samples out column by column rather than row by row.
        """
        self.windows = paste_windows(boxes, height, width)
        self._masks = masks.to(torch.float32)
        rows = _axis(0, height, boxes[:, 1], boxes[:, 3], masks.shape[-1])
        columns = _axis(0, width, boxes[:, 0], boxes[:, 2], masks.shape[-1])
        self._by_columns = by_columns
        self._lines, self._along = (columns, rows) if by_columns else (rows, columns)
        self._threshold = threshold

    def sample(self, number: int) -> Iterator[tuple[slice, torch.Tensor]]:
        """Sample one mask, some lines (columns, or rows) at a time.

        Yields:
            The lines in the image, and of these and the window's pixels along them (lines, pixels): bool,
            whether they are inside, or for a threshold below 0 float32 values.
        """
        window, one = self.windows[number], slice(number, number + 1)
        lines, pixels = slice(window.x0, window.x1), slice(window.y0, window.y1)
        if not self._by_columns:
            lines, pixels = pixels, lines
        if lines.stop <= lines.start or pixels.stop <= pixels.start:
            return
        along = self._along.part(one, pixels)
        mask = self._masks[number] if self._by_columns else self._masks[number].t()
        stretched = _stretch(mask[None], along)[0]
        step = max(1, _CHUNK_PIXELS // (pixels.stop - pixels.start))
        for start in range(lines.start, lines.stop, step):
            part = slice(start, min(start + step, lines.stop))
            across = self._lines.part(one, part)
            lower, weight = across.index[0], across.weight[0, :, None]
            # Whole lines are copied at once; a gather would look up every element.
            values = stretched.index_select(0, lower).lerp_(stretched.index_select(0, lower + 1), weight)
            if self._threshold < 0:
                yield part, values
            else:
                yield part, self._cut_exactly(values, self._masks[number], across.place[0], along.place[0])

    def _cut_exactly(
        self, values: torch.Tensor, mask: torch.Tensor, across: torch.Tensor, along: torch.Tensor
    ) -> torch.Tensor:
        """Cut (lines, pixels) values; those so near the threshold that rounding decides are sampled again."""
        inside = values >= self._threshold + _DOUBT
        doubtful = (values >= self._threshold - _DOUBT).bitwise_xor_(inside)
        # Much faster than torch's where little is found.
        places = torch.from_numpy(np.flatnonzero(doubtful.numpy()))
        if len(places):
            line = places.div(values.shape[1], rounding_mode="floor")
            pair = across[line], along[places - line * values.shape[1]]
            grid = torch.stack(pair if self._by_columns else pair[::-1], dim=1)[None, None]
            again = F.grid_sample(mask[None, None], grid, align_corners=False)[0, 0, 0]
            inside.view(-1)[places] = again >= self._threshold
        return inside


def sample_batch(masks: torch.Tensor, boxes: torch.Tensor, height: int, width: int) -> torch.Tensor:
    """Sample masks (n, M, M) with boxes (n, 4) at every pixel of an image, as (n, width, height).

    Pixels farther than one from the box are zero. The host does not wait for the device.
    """
    cells = masks.shape[-1]
    rows = _axis(0, height, boxes[:, 1], boxes[:, 3], cells)
    columns = _axis(0, width, boxes[:, 0], boxes[:, 2], cells)
    values = _mix(_stretch(masks.to(torch.float32), rows), columns.index, columns.weight)
    near_rows = _within(height, boxes[:, 1], boxes[:, 3])
    near_columns = _within(width, boxes[:, 0], boxes[:, 2])
    return values.mul_(near_columns[:, :, None]).mul_(near_rows[:, None, :])


def _axis(start: int, stop: int, low: torch.Tensor, high: torch.Tensor, cells: int) -> _Axis:
    pixels = torch.arange(start, stop, device=low.device, dtype=torch.float32) + 0.5
    place = (pixels - low[:, None]) / (high - low)[:, None] * 2 - 1
    # A box without extent divides by zero; its pixels fall outside the mask.
    cell = (((place + 1) * cells - 1) / 2).nan_to_num(nan=-2.0).clamp(-2, cells + 1)
    floor = cell.floor()
    inside = (floor >= -1) & (floor < cells)
    index = (floor + 1).clamp(0, cells).to(torch.int64)
    return _Axis(place, index, torch.where(inside, cell - floor, (floor > 0).to(cell.dtype)))


def _stretch(masks: torch.Tensor, rows: _Axis) -> torch.Tensor:
    """Stretch masks (n, M, M) along their height, as (n, M + 2, L): padded mask columns, each of L pixels."""
    padded = F.pad(masks, (1, 1, 1, 1)).transpose(1, 2)
    lower = rows.index[:, None].expand(-1, padded.shape[1], -1)
    upper = padded.gather(2, lower + 1)
    return padded.gather(2, lower).lerp_(upper, rows.weight[:, None])


def _mix(stretched: torch.Tensor, index: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """Mix neighbours out of (n, M + 2, L) for each of (n, C) picture columns, as (n, C, L)."""
    weight = weight[:, :, None]
    mixed = _pick(stretched, index).mul_(1 - weight)
    return mixed.addcmul_(_pick(stretched, index + 1), weight)


def _pick(table: torch.Tensor, index: torch.Tensor) -> torch.Tensor:
    return table.gather(1, index[:, :, None].expand(-1, -1, table.shape[2]))


def _within(length: int, low: torch.Tensor, high: torch.Tensor) -> torch.Tensor:
    pixels = torch.arange(length, device=low.device, dtype=torch.float32)
    return (pixels >= low.floor()[:, None] - 1) & (pixels < high.ceil()[:, None] + 1)
