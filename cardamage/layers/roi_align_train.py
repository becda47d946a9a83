"""ROIAlign on the CPU for training: the sums of :mod:`.roi_align_bags`, with a gradient.

What flows back into a region's window of the map is ``Wy^T G Wx``, where G is the gradient of the region's
cells and Wy and Wx hold the weights of the window's rows and columns in every cell: two products of small
matrices, all channels at once. Each pixel of a window is then added to the map's gradient once, where a loop
over samples adds four pixels for each.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torchvision  # noqa: F401  (registers its operators)
from torch.autograd.function import once_differentiable

from .roi_align import PoolGeometry
from .roi_align_bags import roi_align_bags
from .roi_align_taps import MAX_SAMPLES, Taps, region_taps

__all__ = ["can_pool_bags", "pool_bags"]

# Windows are padded to one of these lengths, so that those of a length go together.
_LENGTHS = (6, 10, 16, 24, 40, 64, 96, 160, 256, 512)
# Numbers of windows at a time: what the cache holds.
_MAX_NUMBERS = 1 << 20


def can_pool_bags(maps: Sequence[torch.Tensor], geometry: PoolGeometry) -> bool:
    """Tell whether :func:`pool_bags` takes a pyramid's maps and is the faster way.

    Args:
        maps: (N, C, Hi, Wi) of every level.
        geometry: how regions are cut out.

    Returns:
        True for maps on the CPU with channels last, as long as a region within a map needs no more samples
        than the sums are made for.
    """
    known = (torch.float32, torch.bfloat16)
    for x in maps:
        last = x.is_contiguous(memory_format=torch.channels_last)
        if x.device.type != "cpu" or not last or x.dtype not in known or x.shape[1] < 8:
            return False
        if geometry.sampling_ratio <= 0 and max(x.shape[2:]) > MAX_SAMPLES * min(geometry.output_size):
            return False
    return not torch.jit.is_tracing()


def pool_bags(
    maps: Sequence[torch.Tensor],
    rois: torch.Tensor,
    levels: torch.Tensor,
    geometry: PoolGeometry,
) -> torch.Tensor:
    """Cut regions out of the maps of a pyramid, with gradients for the maps.

    Arguments and result are those of :func:`~cardamage.layers.roi_align_bags.roi_align_bags`.
    """
    return _PoolBags.apply(rois.detach(), levels, geometry, *maps)


class _PoolBags(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, rois: torch.Tensor, levels: torch.Tensor, geometry: PoolGeometry, *maps: torch.Tensor
    ) -> torch.Tensor:
        ctx.save_for_backward(rois, levels)
        ctx.geometry, ctx.maps = geometry, [(x.shape, x.dtype) for x in maps]
        return roi_align_bags(maps, rois, levels, geometry)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: torch.Tensor) -> Any:
        with torch.autocast("cpu", enabled=False):
            return None, None, None, *_map_gradients(ctx, gradient)


def _map_gradients(ctx: Any, gradient: torch.Tensor) -> list[torch.Tensor | None]:
    """Return the gradients of all maps, None where a map needs none."""
    rois, levels = ctx.saved_tensors
    cells = gradient.permute(0, 2, 3, 1)
    rois = rois.float().nan_to_num()
    results: list[torch.Tensor | None] = []
    for level, (shape, dtype) in enumerate(ctx.maps):
        if not ctx.needs_input_grad[3 + level]:
            results.append(None)
            continue
        here = (levels == level).nonzero()[:, 0]
        found = _level_gradient(cells, here, rois[here], ctx.geometry, level, shape)
        results.append(found.to(dtype))
    return results


def _level_gradient(
    cells: torch.Tensor,
    here: torch.Tensor,
    rois: torch.Tensor,
    geometry: PoolGeometry,
    level: int,
    shape: tuple[int, int, int, int],
) -> torch.Tensor:
    """Return one map's gradient from those of the (M, h, w, C) cells, of which ``here`` belong to it."""
    images, channels, height, width = shape
    # In float32: many regions may add up in one pixel.
    table = torch.zeros(images * height * width, channels)
    if len(here) > 0:
        taps = region_taps(rois, geometry, level, (height, width))
        if taps is None:
            own = cells[here].float().permute(0, 3, 1, 2).contiguous()
            back = torch.ops.torchvision._roi_align_backward
            scale, rest = geometry.scales[level], geometry[2:]
            return back(own, rois, scale, *geometry.output_size, *shape, *rest)
        _spread(table, cells, here, rois[:, 0].long(), *taps, (height, width))
    return table.view(images, height, width, channels).permute(0, 3, 1, 2)


def _windows(taps: Taps, size: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return where each region's window begins and its padded length, (R,) int64 each, at most ``size``."""
    used = taps.weight != 0
    last = torch.where(used, taps.index, -1).amax(dim=(1, 2))
    first = torch.where(used, taps.index, size).amin(dim=(1, 2))
    length = (last - first + 1).clamp(min=1)
    lengths = torch.tensor([*_LENGTHS, size])
    padded = lengths[torch.searchsorted(lengths[:-1], length)].clamp(max=size)
    padded = torch.maximum(padded, length)
    return torch.minimum(first, size - padded).clamp(min=0), padded


def _weights(taps: Taps, part: torch.Tensor, first: torch.Tensor, length: int) -> torch.Tensor:
    """Return (R, S, length): the weight of each place of the windows in each cell."""
    places = (taps.index[part] - first[:, None, None]).clamp_(0, length - 1)
    return torch.zeros(*places.shape[:2], length).scatter_add_(2, places, taps.weight[part])


def _spread(
    table: torch.Tensor,
    cells: torch.Tensor,
    here: torch.Tensor,
    image: torch.Tensor,
    rows: Taps,
    columns: Taps,
    size: tuple[int, int],
) -> None:
    """Add the gradients of regions' cells to a map's.

    Args:
        table: (N * H * W, C) float32 gradient of the map, changed in place.
        cells: (M, h, w, C) gradients of all regions.
        here: (R,) int64: which of them belong to this map.
        image: (R,) int64 into the N images.
        rows: the R regions' rows.
        columns: their columns.
        size: (H, W).
    """
    height, width = size
    top, high = _windows(rows, height)
    left, wide = _windows(columns, width)
    keys, group = (high * (width + 1) + wide).unique(return_inverse=True)
    for number, key in enumerate(keys.tolist()):
        tall, broad = divmod(key, width + 1)
        members = (group == number).nonzero()[:, 0]
        for part in members.split(max(_MAX_NUMBERS // (tall * broad * table.shape[1]), 1)):
            y, x = top[part], left[part]
            pixel_rows = (image[part] * height + y)[:, None] + torch.arange(tall)
            pixels = (pixel_rows * width + x[:, None])[:, :, None] + torch.arange(broad)
            weights = (_weights(rows, part, y, tall), _weights(columns, part, x, broad))
            table.index_add_(0, pixels.flatten(), _window_gradients(cells[here[part]].float(), *weights))


def _window_gradients(cells: torch.Tensor, rows: torch.Tensor, columns: torch.Tensor) -> torch.Tensor:
    """Return ``Wy^T G Wx`` of (R, h, w, C) gradients, (R, h, tall) and (R, w, broad) weights, as rows."""
    count, high, _, channels = cells.shape
    broad = columns.shape[2]
    across = columns.transpose(1, 2)[:, None] @ cells
    down = torch.bmm(rows.transpose(1, 2), across.reshape(count, high, broad * channels))
    return down.view(-1, channels)
