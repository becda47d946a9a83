"""Which pixels of a map, with which weights, ROIAlign adds up to a cell of a region.

An average of bilinear samples on a grid is a sum of few pixels, each with a row's weight times a column's:
the taps of either axis are all there is to know. Samples that share pixels are merged.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from .roi_align import PoolGeometry

__all__ = ["MAX_SAMPLES", "Taps", "region_taps"]

# More samples a cell and axis than this mean boxes far larger than the map.
MAX_SAMPLES = 128


@dataclass
class Taps:
    """The pixels that cells add up along one axis: R regions, S cells, K places.

    Attributes:
        index: (R, S, K) int64 rows or columns of the map.
        weight: (R, S, K), in float32.
        count: (R,) int64: how many of the K places are used, the first ones.
    """

    index: torch.Tensor
    weight: torch.Tensor
    count: torch.Tensor


def region_taps(
    rois: torch.Tensor, geometry: PoolGeometry, level: int, size: tuple[int, int]
) -> tuple[Taps, Taps] | None:
    """Find the rows and the columns that the cells of regions add up.

    Args:
        rois: (R, 5) float32: an index, then x0, y0, x1, y1 in pixels.
        geometry: how regions are cut out.
        level: the level that all of them belong to.
        size: (height, width) of its map.

    Returns:
        The rows' and the columns' taps; None where a cell needs more than ``MAX_SAMPLES`` on an axis.
    """
    shift = 0.5 if geometry.aligned else 0.0
    corners = rois[:, 1:] * geometry.scales[level] - shift
    low, side = corners[:, :2], corners[:, 2:] - corners[:, :2]
    if not geometry.aligned:
        side = side.clamp(min=1)
    high, wide = geometry.output_size
    ratio = geometry.sampling_ratio
    if ratio <= 0 and float((side / min(high, wide)).amax()) > MAX_SAMPLES:
        return None
    rows = _axis_taps(low[:, 1], side[:, 1], high, ratio, size[0])
    return rows, _axis_taps(low[:, 0], side[:, 0], wide, ratio, size[1])


def _axis_taps(low: torch.Tensor, side: torch.Tensor, cells: int, sampling_ratio: int, size: int) -> Taps:
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
        return Taps(index, torch.cat([weight - upper, upper], dim=2), count * 2)
    return _merge(place, weight, count, size)


def _merge(place: torch.Tensor, weight: torch.Tensor, count: torch.Tensor, size: int) -> Taps:
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
    return Taps(index.clamp_(max=size - 1), taps, torch.where(count > 0, count + 1, 0))
