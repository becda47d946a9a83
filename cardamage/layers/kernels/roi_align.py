"""ROIAlign on maps with channels last, forward and backward, in Triton.

A program has one row of a region's cells and a block of channels, so that neighbouring threads read
neighbouring channels. Regions of other levels end at once.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import triton
import triton.language as tl

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
        image = tl.load(roi).to(tl.int64)
        x0 = tl.load(roi + 1) * scale - offset
        y0 = tl.load(roi + 2) * scale - offset
        roi_width = tl.load(roi + 3) * scale - offset - x0
        roi_height = tl.load(roi + 4) * scale - offset - y0
        if offset == 0.0:
            roi_width = tl.maximum(roi_width, 1.0)
            roi_height = tl.maximum(roi_height, 1.0)
        cell_height = tl.math.div_rn(roi_height, ROWS * 1.0)
        cell_width = tl.math.div_rn(roi_width, COLUMNS * 1.0)
        samples_y = sampling_ratio
        samples_x = sampling_ratio
        if sampling_ratio <= 0:
            # Bounded, so that a box that is not finite ends, too.
            samples_y = tl.math.ceil(tl.minimum(cell_height, 4096.0)).to(tl.int32)
            samples_x = tl.math.ceil(tl.minimum(cell_width, 4096.0)).to(tl.int32)
        count = tl.maximum(samples_y * samples_x, 1).to(tl.float32)
        step_y = tl.math.div_rn(cell_height, tl.maximum(samples_y, 1).to(tl.float32))
        step_x = tl.math.div_rn(cell_width, tl.maximum(samples_x, 1).to(tl.float32))
        first = map_ + image * height * width * CHANNELS + channel
        for column in range(0, COLUMNS):
            cell = cells + ((region * ROWS + row) * COLUMNS + column) * CHANNELS + channel
            total = tl.zeros((BLOCK,), dtype=tl.float32)
            if BACKWARD:
                total = tl.load(cell, mask=used, other=0.0).to(tl.float32) / count
            for i in range(0, samples_y):
                y = y0 + row * cell_height + (i + 0.5) * step_y
                low_y, high_y, weight_y, inside_y = _axis(y, height)
                for j in range(0, samples_x):
                    x = x0 + column * cell_width + (j + 0.5) * step_x
                    low_x, high_x, weight_x, inside_x = _axis(x, width)
                    here = channel < tl.where(inside_y & inside_x, CHANNELS, 0)
                    top = first + (low_y * width).to(tl.int64) * CHANNELS
                    bottom = first + (high_y * width).to(tl.int64) * CHANNELS
                    w00 = (1.0 - weight_y) * (1.0 - weight_x)
                    w01 = (1.0 - weight_y) * weight_x
                    w10 = weight_y * (1.0 - weight_x)
                    w11 = weight_y * weight_x
                    if BACKWARD:
                        tl.atomic_add(top + low_x * CHANNELS, total * w00, mask=here, sem="relaxed")
                        tl.atomic_add(top + high_x * CHANNELS, total * w01, mask=here, sem="relaxed")
                        tl.atomic_add(bottom + low_x * CHANNELS, total * w10, mask=here, sem="relaxed")
                        tl.atomic_add(bottom + high_x * CHANNELS, total * w11, mask=here, sem="relaxed")
                    else:
                        v00 = tl.load(top + low_x * CHANNELS, mask=here, other=0.0).to(tl.float32)
                        v01 = tl.load(top + high_x * CHANNELS, mask=here, other=0.0).to(tl.float32)
                        v10 = tl.load(bottom + low_x * CHANNELS, mask=here, other=0.0).to(tl.float32)
                        v11 = tl.load(bottom + high_x * CHANNELS, mask=here, other=0.0).to(tl.float32)
                        total += v00 * w00 + v01 * w01 + v10 * w10 + v11 * w11
            if not BACKWARD:
                tl.store(cell, (total / count).to(cells.dtype.element_ty), mask=used)


def _launch(
    map_: torch.Tensor,
    rois: torch.Tensor,
    levels: torch.Tensor,
    cells: torch.Tensor,
    level: int,
    scale: float,
    sampling_ratio: int,
    aligned: bool,
    backward: bool,
) -> None:
    _, height, width, channels = map_.shape
    rows, columns = cells.shape[1:3]
    block = min(_MAX_BLOCK, triton.next_power_of_2(channels))
    _roi_align[(len(rois) * rows, triton.cdiv(channels, block))](
        map_,
        rois,
        levels,
        cells,
        height,
        width,
        level,
        scale,
        0.5 if aligned else 0.0,
        sampling_ratio,
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
    scales: Sequence[float],
    size: tuple[int, int],
    sampling_ratio: int,
    aligned: bool,
) -> torch.Tensor:
    """Pool regions from their levels' maps; the host does not wait.

    Args:
        maps: per level (N, Hi, Wi, C), contiguous.
        rois: (M, 5) float32 rows (image, x0, y0, x1, y1), contiguous.
        levels: (M,) int64; -1 for none.
        scales: cells per pixel of every level.
        size: (height, width) of the result.
        sampling_ratio: samples a cell and axis; 0 for as many as the cell has pixels.
        aligned: see :class:`~cardamage.layers.ROIAlign`.

    Returns:
        (M, height, width, C) of the maps' dtype; zero where there is no level.
    """
    cells = maps[0].new_zeros((len(rois), *size, maps[0].shape[3]))
    if cells.numel():
        with torch.cuda.device_of(rois):
            for level, (map_, scale) in enumerate(zip(maps, scales, strict=True)):
                _launch(map_, rois, levels, cells, level, scale, sampling_ratio, aligned, False)
    return cells


def launch_roi_align_backward(
    gradient: torch.Tensor,
    rois: torch.Tensor,
    levels: torch.Tensor,
    shapes: Sequence[tuple[int, int, int, int]],
    scales: Sequence[float],
    sampling_ratio: int,
    aligned: bool,
) -> list[torch.Tensor]:
    """Return the maps' gradients, float32 of the given shapes (N, Hi, Wi, C), for one of the cells.

    Args:
        gradient: (M, height, width, C), contiguous.
        rois: as for :func:`launch_roi_align`, and so the others.
        levels: see there.
        shapes: the maps' shapes.
        scales: see there.
        sampling_ratio: see there.
        aligned: see there.
    """
    gradients = [torch.zeros(shape, dtype=torch.float32, device=gradient.device) for shape in shapes]
    if gradient.numel():
        with torch.cuda.device_of(rois):
            for level, (map_, scale) in enumerate(zip(gradients, scales, strict=True)):
                _launch(map_, rois, levels, gradient, level, scale, sampling_ratio, aligned, True)
    return gradients
