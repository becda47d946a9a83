"""ROIAlign on maps with channels last, forward and backward, in Triton.

A program has one row of a region's cells and a block of channels, so that neighbouring threads read
neighbouring channels. Regions of other levels end at once.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import triton
import triton.language as tl

from ..roi_align import PoolGeometry

__all__ = ["launch_roi_align", "launch_roi_align_backward"]

_MAX_BLOCK = 256


@triton.jit
def _axis(place, size):
    """Return the two pixels around a place on an axis, the second one's weight, and whether it is inside."""
    inside = (place >= -1.0) & (place <= size)
    place = tl.maximum(place, 0.0)
    low = tl.minimum(place.to(tl.int32), size - 1)
    high = tl.minimum(low + 1, size - 1)
    weight = tl.where(low >= size - 1, 0.0, place - low.to(tl.float32))
    return low, high, weight, inside


@triton.jit
def _side(low, high, offset, sampling_ratio, CELLS: tl.constexpr):
    """Return where a region begins on an axis, its cells' length, their samples and the distance of these."""
    low -= offset
    length = high - offset - low
    if offset == 0.0:
        length = tl.maximum(length, 1.0)
    cell = tl.math.div_rn(length, CELLS * 1.0)
    samples = sampling_ratio
    if sampling_ratio <= 0:
        # Bounded, so that a box that is not finite ends, too.
        samples = tl.math.ceil(tl.minimum(cell, 4096.0)).to(tl.int32)
    return low, cell, samples, tl.math.div_rn(cell, tl.maximum(samples, 1).to(tl.float32))


@triton.jit
def _corner(pixel, weight, total, here, BACKWARD: tl.constexpr):
    """Return a pixel's share of a cell, or add the share of the cell's gradient to the pixel."""
    if BACKWARD:
        tl.atomic_add(pixel, total * weight, mask=here, sem="relaxed")
    else:
        total += tl.load(pixel, mask=here, other=0.0).to(tl.float32) * weight
    return total


@triton.jit(do_not_specialize=["height", "width", "level", "sampling_ratio"])
def _roi_align(
    map_,
    rois,
    levels,
    cells,
    height,
    width,
    level,
    scale,
    offset,
    sampling_ratio,
    CHANNELS: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
    BLOCK: tl.constexpr,
    BACKWARD: tl.constexpr,
):
    """Pool a row of cells from a map, or add their gradient to that of the map."""
    region = (tl.program_id(0) // ROWS).to(tl.int64)
    row = tl.program_id(0) % ROWS
    if tl.load(levels + region) == level:
        channel = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
        used = channel < CHANNELS
        roi = rois + region * 5
        left, right = tl.load(roi + 1) * scale, tl.load(roi + 3) * scale
        above, below = tl.load(roi + 2) * scale, tl.load(roi + 4) * scale
        x0, cell_width, samples_x, step_x = _side(left, right, offset, sampling_ratio, COLUMNS)
        y0, cell_height, samples_y, step_y = _side(above, below, offset, sampling_ratio, ROWS)
        count = tl.maximum(samples_y * samples_x, 1).to(tl.float32)
        first = map_ + tl.load(roi).to(tl.int64) * height * width * CHANNELS + channel
        for column in range(0, COLUMNS):
            cell = cells + ((region * ROWS + row) * COLUMNS + column) * CHANNELS + channel
            total = tl.zeros((BLOCK,), dtype=tl.float32)
            if BACKWARD:
                total = tl.load(cell, mask=used, other=0.0).to(tl.float32) / count
            for i in range(0, samples_y):
                low_y, high_y, weight_y, inside_y = _axis(y0 + row * cell_height + (i + 0.5) * step_y, height)
                top = first + (low_y * width).to(tl.int64) * CHANNELS
                bottom = first + (high_y * width).to(tl.int64) * CHANNELS
                for j in range(0, samples_x):
                    x = x0 + column * cell_width + (j + 0.5) * step_x
                    low_x, high_x, weight_x, inside_x = _axis(x, width)
                    here = channel < tl.where(inside_y & inside_x, CHANNELS, 0)
                    low_x, high_x = low_x * CHANNELS, high_x * CHANNELS
                    total = _corner(top + low_x, (1.0 - weight_y) * (1.0 - weight_x), total, here, BACKWARD)
                    total = _corner(top + high_x, (1.0 - weight_y) * weight_x, total, here, BACKWARD)
                    total = _corner(bottom + low_x, weight_y * (1.0 - weight_x), total, here, BACKWARD)
                    total = _corner(bottom + high_x, weight_y * weight_x, total, here, BACKWARD)
            if not BACKWARD:
                tl.store(cell, (total / count).to(cells.dtype.element_ty), mask=used)


def _launch(
    map_: torch.Tensor,
    rois: torch.Tensor,
    levels: torch.Tensor,
    cells: torch.Tensor,
    level: int,
    geometry: PoolGeometry,
    backward: bool,
) -> None:
    _, height, width, channels = map_.shape
    rows, columns = geometry.output_size
    block = min(_MAX_BLOCK, triton.next_power_of_2(channels))
    _roi_align[(len(rois) * rows, triton.cdiv(channels, block))](
        map_,
        rois,
        levels,
        cells,
        height,
        width,
        level,
        geometry.scales[level],
        0.5 if geometry.aligned else 0.0,
        geometry.sampling_ratio,
        channels,
        rows,
        columns,
        block,
        backward,
        num_warps=max(1, min(4, block // 64)),
        # The default differs between versions of Triton.
        enable_fp_fusion=True,
    )


def launch_roi_align(
    maps: Sequence[torch.Tensor],
    rois: torch.Tensor,
    levels: torch.Tensor,
    geometry: PoolGeometry,
) -> torch.Tensor:
    """Pool regions from their levels' maps; the host does not wait.

    Args:
        maps: per level (N, Hi, Wi, C), contiguous.
        rois: (M, 5) float32 rows (image, x0, y0, x1, y1), contiguous.
        levels: (M,) int64; -1 for none.
        geometry: how regions are cut out.

    Returns:
        (M, *geometry.output_size, C) of the maps' dtype; zero where there is no level.
    """
    cells = maps[0].new_zeros((len(rois), *geometry.output_size, maps[0].shape[3]))
    if cells.numel():
        with torch.cuda.device_of(rois):
            for level, map_ in enumerate(maps):
                _launch(map_, rois, levels, cells, level, geometry, False)
    return cells


def launch_roi_align_backward(
    gradient: torch.Tensor,
    rois: torch.Tensor,
    levels: torch.Tensor,
    shapes: Sequence[tuple[int, int, int, int]],
    geometry: PoolGeometry,
) -> list[torch.Tensor]:
    """Return the maps' gradients, float32 of the given shapes (N, Hi, Wi, C), for one of the cells.

    Args:
        gradient: (M, height, width, C), contiguous.
        rois: as for :func:`launch_roi_align`, and so the others.
        levels: see there.
        shapes: the maps' shapes.
        geometry: see there.
    """
    gradients = [torch.zeros(shape, dtype=torch.float32, device=gradient.device) for shape in shapes]
    if gradient.numel():
        with torch.cuda.device_of(rois):
            for level, map_ in enumerate(gradients):
                _launch(map_, rois, levels, gradient, level, geometry, True)
    return gradients
