"""ROIAlign of regions of several levels with fixed shapes: nothing is counted, so no GPU is waited for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torchvision  # noqa: F401  (registers its operators)
from torchvision.ops import roi_align

from .kernels import support
from .roi_align import PoolGeometry

__all__ = ["roi_align_pyramid", "shrink_others"]


def roi_align_pyramid(
    maps: Sequence[torch.Tensor],
    rois: torch.Tensor,
    levels: torch.Tensor,
    geometry: PoolGeometry,
) -> torch.Tensor:
    """Pool every region from the map of its level.

    On an NVIDIA GPU with Triton each map is read once, in its own precision and with channels last; elsewhere
    torchvision pools all regions on every level, those of other levels shrunk to a point.

    Args:
        maps: per level (N, C, Hi, Wi).
        rois: (M, 5) rows (image, x0, y0, x1, y1), in pixels.
        levels: (M,) int64; -1 for regions that give zeros.
        geometry: how they are cut out.

    Returns:
        (M, C, *geometry.output_size) of the maps' dtype, channels last; sums are in float32.
    """
    cells: torch.Tensor = torch.ops.cardamage.roi_align_pyramid(
        list(maps), rois.float(), levels, list(geometry.output_size), list(geometry.scales), *geometry[2:]
    )
    return cells.permute(0, 3, 1, 2)


# Operators of their own, so that compilers and tensors without values take them as they are.
@torch.library.custom_op(
    "cardamage::roi_align_pyramid",
    mutates_args=(),
    schema="(Tensor[] maps, Tensor rois, Tensor levels, int[] size, float[] scales, int samples, "
    "bool aligned) -> Tensor",
)
def _pool(
    maps: list[torch.Tensor],
    rois: torch.Tensor,
    levels: torch.Tensor,
    size: list[int],
    scales: list[float],
    samples: int,
    aligned: bool,
) -> torch.Tensor:
    rois, levels = rois.contiguous(), levels.contiguous()
    geometry = PoolGeometry((size[0], size[1]), tuple(scales), samples, aligned)

    def launch() -> torch.Tensor:
        from .kernels.roi_align import launch_roi_align

        last = [m.permute(0, 2, 3, 1).contiguous() for m in maps]
        return launch_roi_align(last, rois, levels, geometry)

    cells = support.attempt("pooling regions", rois.device, launch)
    return _pool_shrunk(maps, rois, levels, geometry) if cells is None else cells


def _pool_shrunk(
    maps: list[torch.Tensor], rois: torch.Tensor, levels: torch.Tensor, geometry: PoolGeometry
) -> torch.Tensor:
    dtype = torch.promote_types(maps[0].dtype, torch.float32)
    total = rois.new_zeros((len(rois), maps[0].shape[1], *geometry.output_size), dtype=dtype)
    for level, (level_map, scale) in enumerate(zip(maps, geometry.scales, strict=True)):
        here = levels == level
        shrunk = shrink_others(rois.to(dtype), here)
        cells = roi_align(level_map.to(dtype), shrunk, geometry.output_size, scale, *geometry[2:])
        total += torch.where(here[:, None, None, None], cells, torch.zeros_like(cells))
    return total.to(maps[0].dtype).permute(0, 2, 3, 1).contiguous()


def shrink_others(rois: torch.Tensor, here: torch.Tensor) -> torch.Tensor:
    """Shrink regions of other levels to a point, where pooling them is cheap.

    Args:
        rois: (M, 5) rows (image, x0, y0, x1, y1).
        here: (M,) bool: the regions to keep.

    Returns:
        (M, 5) of the same dtype.
    """
    boxes = torch.where(here[:, None], rois[:, 1:], torch.zeros_like(rois[:, 1:]))
    return torch.cat([rois[:, :1], boxes], dim=1)


@_pool.register_fake
def _(maps: Any, rois: Any, levels: Any, size: Any, scales: Any, samples: Any, aligned: Any) -> torch.Tensor:
    return maps[0].new_empty((rois.shape[0], *size, maps[0].shape[1]))


@torch.library.custom_op(
    "cardamage::roi_align_pyramid_backward",
    mutates_args=(),
    schema="(Tensor gradient, Tensor rois, Tensor levels, SymInt[] shapes, float[] scales, int samples, "
    "bool aligned) -> Tensor[]",
)
def _backward(
    gradient: torch.Tensor,
    rois: torch.Tensor,
    levels: torch.Tensor,
    shapes: list[int],
    scales: list[float],
    samples: int,
    aligned: bool,
) -> list[torch.Tensor]:
    gradient, rois, levels = gradient.contiguous(), rois.contiguous(), levels.contiguous()
    height, width = gradient.shape[1:3]
    geometry = PoolGeometry((height, width), tuple(scales), samples, aligned)

    def launch() -> list[torch.Tensor]:
        from .kernels.roi_align import launch_roi_align_backward

        last = [(n, h, w, c) for n, c, h, w in _quadruples(shapes)]
        found = launch_roi_align_backward(gradient, rois, levels, last, geometry)
        return [g.to(gradient.dtype).permute(0, 3, 1, 2) for g in found]

    found = support.attempt("pooling regions", rois.device, launch)
    return _backward_shrunk(gradient, rois, levels, shapes, geometry) if found is None else found


def _backward_shrunk(
    gradient: torch.Tensor,
    rois: torch.Tensor,
    levels: torch.Tensor,
    shapes: list[int],
    geometry: PoolGeometry,
) -> list[torch.Tensor]:
    dtype = torch.promote_types(gradient.dtype, torch.float32)
    cells = gradient.permute(0, 3, 1, 2).to(dtype)
    gradients = []
    for level, (shape, scale) in enumerate(zip(_quadruples(shapes), geometry.scales, strict=True)):
        here = levels == level
        own = torch.where(here[:, None, None, None], cells, torch.zeros_like(cells)).contiguous()
        found = torch.ops.torchvision._roi_align_backward(
            own, shrink_others(rois.to(dtype), here), scale, *geometry.output_size, *shape, *geometry[2:]
        )
        gradients.append(found.to(gradient.dtype).contiguous(memory_format=torch.channels_last))
    return gradients


@_backward.register_fake
def _(
    gradient: Any, rois: Any, levels: Any, shapes: Any, scales: Any, samples: Any, aligned: Any
) -> list[torch.Tensor]:
    return [gradient.new_empty((n, h, w, c)).permute(0, 3, 1, 2) for n, c, h, w in _quadruples(shapes)]


def _quadruples(numbers: Sequence[int]) -> list[tuple[int, int, int, int]]:
    return [(n[0], n[1], n[2], n[3]) for n in (numbers[i : i + 4] for i in range(0, len(numbers), 4))]


def _save(ctx: Any, inputs: tuple[Any, ...], output: torch.Tensor) -> None:
    maps, rois, levels, _, scales, samples, aligned = inputs
    # Not the maps themselves, which nothing else may need any more.
    ctx.save_for_backward(rois, levels)
    ctx.rest = ([size for level_map in maps for size in level_map.shape], scales, samples, aligned)


def _differentiate(ctx: Any, gradient: torch.Tensor) -> tuple[Any, ...]:
    rois, levels = ctx.saved_tensors
    found = torch.ops.cardamage.roi_align_pyramid_backward(gradient, rois, levels, *ctx.rest)
    return found, None, None, None, None, None, None


_pool.register_autograd(_differentiate, setup_context=_save)
