"""ROIAlign on the CPU as weighted sums of whole pixels.

In a map with channels last a pixel's channels lie together, so every cell (see :mod:`.roi_align_taps`) is one
bag of ``embedding_bag``, which adds up scaled rows of a table with vector instructions and in parallel, also
in bfloat16.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F

from .roi_align import PoolGeometry, roi_align
from .roi_align_taps import Taps, region_taps

__all__ = ["roi_align_bags"]


def roi_align_bags(
    maps: Sequence[torch.Tensor],
    rois: torch.Tensor,
    levels: torch.Tensor,
    geometry: PoolGeometry,
) -> torch.Tensor:
    """Cut regions out of the maps of a pyramid; equal to torchvision's ``roi_align`` but for rounding.

    Args:
        maps: (N, C, Hi, Wi) of every level, fastest with channels last.
        rois: (R, 5): index into N, then x0, y0, x1, y1 in pixels.
        levels: (R,) int64 each region's level; regions of a level that is none are zero.
        geometry: how they are cut out.

    Returns:
        (R, C, *geometry.output_size) of the maps' dtype, channels last.
    """
    channels, dtype = maps[0].shape[1], maps[0].dtype
    high, wide = geometry.output_size
    output = torch.zeros(len(rois), high * wide, channels, dtype=dtype)
    rois = rois.float().nan_to_num()
    for level, x in enumerate(maps):
        here = (levels == level).nonzero()[:, 0]
        if len(here) > 0:
            _pool_level(output, here, x, rois[here], geometry, level)
    return output.view(len(rois), high, wide, channels).permute(0, 3, 1, 2)


def _pool_level(
    output: torch.Tensor,
    here: torch.Tensor,
    x: torch.Tensor,
    rois: torch.Tensor,
    geometry: PoolGeometry,
    level: int,
) -> None:
    """Pool regions of one level into the rows ``here`` of the (R, cells, C) output, zero until now."""
    images, channels, height, width = x.shape
    taps = region_taps(rois, geometry, level, (height, width))
    if taps is None:
        plain = roi_align(x.float(), rois, geometry.output_size, geometry.scales[level], *geometry[2:])
        output.index_copy_(0, here, plain.flatten(2).transpose(1, 2).to(x.dtype))
        return
    rows, columns = taps
    rows.index *= width
    rows.index += (rois[:, 0].long() * (height * width))[:, None, None]
    table = x.permute(0, 2, 3, 1).reshape(images * height * width, channels)
    _sum_bags(output, here, table, rows, columns)


def _sum_bags(
    output: torch.Tensor, here: torch.Tensor, table: torch.Tensor, rows: Taps, columns: Taps
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
