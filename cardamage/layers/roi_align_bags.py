"""ROIAlign on the CPU as weighted sums of whole pixels.

What a cell of a region is, an average of bilinear samples on a grid, is a sum of few pixels of the map, each
with a row's weight times a column's. In a map with channels last a pixel's channels lie together, so every
cell is one bag of ``embedding_bag``, which adds up scaled rows of a table with vector instructions and in
parallel, also in bfloat16. Samples that share pixels are merged before.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F

from .roi_align import roi_align

__all__ = ["roi_align_bags"]

# More samples a cell and axis than this mean boxes far larger than the map.
_MAX_SAMPLES = 128


@dataclass
class _Taps:
    """The pixels that cells add up along one axis: R regions, S cells, K places.

    Attributes:
        index: (R, S, K) int64 rows or columns of the map.
        weight: (R, S, K), in float32.
        count: (R,) int64: how many of the K places are used, the first ones.
    """

    index: torch.Tensor
    weight: torch.Tensor
    count: torch.Tensor


def roi_align_bags(
    maps: Sequence[torch.Tensor],
    rois: torch.Tensor,
    levels: torch.Tensor,
    output_size: tuple[int, int],
    scales: Sequence[float],
    sampling_ratio: int,
    aligned: bool,
) -> torch.Tensor:
    """Cut regions out of the maps of a pyramid; equal to torchvision's ``roi_align`` but for rounding.

    Args:
        maps: (N, C, Hi, Wi) of every level, fastest with channels last.
        rois: (R, 5): index into N, then x0, y0, x1, y1 in pixels.
        levels: (R,) int64 each region's level; regions of a level that is none are zero.
        output_size: (height, width) of the result, in cells.
        scales: every level's cells a pixel.
        sampling_ratio: samples per side of each output cell; 0 for as many as the map has cells.
        aligned: see :class:`~cardamage.layers.ROIAlign`.

    Returns:
        (R, C, *output_size) of the maps' dtype, channels last.
    """
    channels, dtype = maps[0].shape[1], maps[0].dtype
    cells = output_size[0] * output_size[1]
    output = torch.zeros(len(rois), cells, channels, dtype=dtype)
    rois = rois.float().nan_to_num()
    for level, (x, scale) in enumerate(zip(maps, scales, strict=True)):
        here = (levels == level).nonzero()[:, 0]
        if len(here) > 0:
            _pool_level(output, here, x, rois[here], output_size, scale, sampling_ratio, aligned)
    return output.view(len(rois), *output_size, channels).permute(0, 3, 1, 2)


def _pool_level(
    output: torch.Tensor,
    here: torch.Tensor,
    x: torch.Tensor,
    rois: torch.Tensor,
    output_size: tuple[int, int],
    scale: float,
    sampling_ratio: int,
    aligned: bool,
) -> None:
    """Pool regions of one level into the rows ``here`` of the (R, cells, C) output, zero until now."""
    images, channels, height, width = x.shape
    low = rois[:, 1:3] * scale - (0.5 if aligned else 0.0)
    high = rois[:, 3:5] * scale - (0.5 if aligned else 0.0)
    side = high - low if aligned else (high - low).clamp(min=1)
    if sampling_ratio <= 0 and float((side / min(output_size)).amax()) > _MAX_SAMPLES:
        plain = roi_align(x.float(), rois, output_size, scale, sampling_ratio, aligned)
        output.index_copy_(0, here, plain.flatten(2).transpose(1, 2).to(x.dtype))
        return
    rows = _axis(low[:, 1], side[:, 1], output_size[0], sampling_ratio, height)
    columns = _axis(low[:, 0], side[:, 0], output_size[1], sampling_ratio, width)
    rows.index *= width
    rows.index += (rois[:, 0].long() * (height * width))[:, None, None]
    table = x.permute(0, 2, 3, 1).reshape(images * height * width, channels)
    _sum_bags(output, here, table, rows, columns)


def _sum_bags(
    output: torch.Tensor, here: torch.Tensor, table: torch.Tensor, rows: _Taps, columns: _Taps
) -> None:
    """Add up the (P, C) table's rows for all cells. Regions with as many taps go together."""
    base = int(columns.count.max()) + 1
    key, order = (rows.count * base + columns.count).sort()
    keys, sizes = key.unique_consecutive(return_counts=True)
    where, cells = here[order], output.shape[1]
    r_index, r_weight = rows.index[order], rows.weight[order]
    c_index, c_weight = columns.index[order], columns.weight[order]
    start = 0
    for both, size in zip(keys.tolist(), sizes.tolist(), strict=True):
        part, (high, wide) = slice(start, start + size), divmod(both, base)
        start += size
        if high == 0 or wide == 0:
            continue
        index = r_index[part, :, None, :high, None] + c_index[part, None, :, None, :wide]
        weight = r_weight[part, :, None, :high, None] * c_weight[part, None, :, None, :wide]
        bags = F.embedding_bag(
            index.view(-1, high * wide),
            table,
            mode="sum",
            per_sample_weights=weight.view(-1, high * wide).to(table.dtype),
        )
        output.index_copy_(0, where[part], bags.view(size, cells, -1))


def _axis(low: torch.Tensor, side: torch.Tensor, cells: int, sampling_ratio: int, size: int) -> _Taps:
    """Find the taps of (R,) regions that begin at ``low`` and extend over ``side`` pixels of ``size``."""
    step = side / cells
    if sampling_ratio > 0:
        count = torch.full_like(low, sampling_ratio, dtype=torch.int64)
    else:
        count = step.ceil().clamp(min=0).to(torch.int64)
    most = max(int(count.max()), 1)
    numbers = torch.arange(most)
    share = 1.0 / count.clamp(min=1)
    offsets = (numbers + 0.5) * (step * share)[:, None]
    place = low[:, None] + torch.arange(cells) * step[:, None]
    place = place[:, :, None] + offsets[:, None]
    used = (place >= -1) & (place <= size) & (numbers < count[:, None])[:, None]
    place = place.clamp(min=0, max=size - 1)
    weight = used * share[:, None, None]
    if sampling_ratio > 0:
        lower = place.floor()
        upper = weight * (place - lower)
        index = torch.cat([lower, lower + 1], dim=2).clamp_(max=size - 1).long()
        return _Taps(index, torch.cat([weight - upper, upper], dim=2), count * 2)
    return _merge(place, weight, count, size)


def _merge(place: torch.Tensor, weight: torch.Tensor, count: torch.Tensor, size: int) -> _Taps:
    """Merge samples at most a pixel apart: n of them touch n + 1 pixels in a row."""
    first = place[:, :, :1].floor()
    behind = (place - first).clamp_(min=0)
    # An integer place may have been rounded up to the next pixel.
    tap = behind.floor().minimum((count - 1).clamp(min=0)[:, None, None])
    upper = weight * (behind - tap)
    taps = torch.zeros(*place.shape[:2], place.shape[2] + 1)
    tap = tap.long()
    taps.scatter_add_(2, tap, weight - upper).scatter_add_(2, tap + 1, upper)
    index = first.long() + torch.arange(taps.shape[2])
    return _Taps(index.clamp_(max=size - 1), taps, torch.where(count > 0, count + 1, 0))
