"""Features of regions, each from the pyramid level that fits its size."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn
from torchvision.ops import RoIPool

from cardamage.errors import ConfigValueError
from cardamage.layers import ROIAlign
from cardamage.layers.roi_align import PoolGeometry
from cardamage.layers.roi_align_pyramid import roi_align_pyramid, shrink_others
from cardamage.layers.roi_align_train import can_pool_bags, pool_bags
from cardamage.structures import Boxes

from .batch import RoiRows, fixed_shapes
from .custom import batched

__all__ = ["ROIPooler", "assign_boxes_to_levels", "convert_boxes_to_pooler_format"]


def assign_boxes_to_levels(
    box_lists: Sequence[Boxes],
    min_level: int,
    max_level: int,
    canonical_box_size: int,
    canonical_level: int,
) -> torch.Tensor:
    """Choose every box's pyramid level (https://arxiv.org/abs/1612.03144, equation 1).

    Args:
        box_lists: the boxes of every image, M in all.
        min_level: the finest level there is; level l has the stride 2 ** l.
        max_level: the coarsest level there is.
        canonical_box_size: the side, in pixels, of a square that belongs to ``canonical_level``.
        canonical_level: that level.

    Returns:
        (M,) int64, counted from ``min_level``.
    """
    boxes = torch.cat([b.tensor for b in box_lists])
    return _levels(boxes, min_level, max_level, canonical_box_size, canonical_level)


def _levels(
    boxes: torch.Tensor, min_level: int, max_level: int, canonical_box_size: int, canonical_level: int
) -> torch.Tensor:
    area = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    relative = torch.sqrt(area) / canonical_box_size
    level = torch.floor(canonical_level + torch.log2(relative + 1e-8))
    return level.clamp(min=min_level, max=max_level).to(torch.int64) - min_level


def convert_boxes_to_pooler_format(box_lists: Sequence[Boxes]) -> torch.Tensor:
    """Return (M, 5) rows (image, x0, y0, x1, y1) of the boxes of all images."""
    return _with_image(RoiRows.from_boxes(box_lists))


def _with_image(rows: RoiRows) -> torch.Tensor:
    return torch.cat([rows.image[:, None].to(rows.boxes.dtype), rows.boxes], dim=1)


def _make_pooler(kind: str, size: tuple[int, int], scale: float, sampling_ratio: int) -> nn.Module:
    if kind == "ROIPool":
        return RoIPool(size, spatial_scale=scale)
    aligned = {"ROIAlign": False, "ROIAlignV2": True}
    if kind not in aligned:
        raise ConfigValueError(
            f'POOLER_TYPE is "{kind}", but must be one of {", ".join([*aligned, "ROIPool"])}'
        )
    return ROIAlign(size, spatial_scale=scale, sampling_ratio=sampling_ratio, aligned=aligned[kind])


class ROIPooler(nn.Module):
    """Crop regions to one size (Mask R-CNN's ROIAlign, https://arxiv.org/abs/1703.06870)."""

    def __init__(
        self,
        output_size: int | Sequence[int],
        scales: Sequence[float],
        sampling_ratio: int,
        pooler_type: str,
        canonical_box_size: int = 224,
        canonical_level: int = 4,
    ) -> None:
        """Make a pooler for every level.

        Args:
            output_size: height and width of the result, in cells.
            scales: 1 / stride of every level, finest first; each half the last.
            sampling_ratio: samples a cell and axis; 0 for as many as the cell has pixels.
            pooler_type: ``ROIAlignV2``, ``ROIAlign`` (half a pixel off, as it was at first) or ``ROIPool``.
            canonical_box_size: see :func:`assign_boxes_to_levels`.
            canonical_level: see :func:`assign_boxes_to_levels`.

        Raises:
            ConfigValueError: an unknown type, or levels that are not a pyramid.
        """
        super().__init__()
        size = (output_size, output_size) if isinstance(output_size, int) else tuple(output_size)
        self.output_size: tuple[int, int] = size  # type: ignore[assignment]
        self.scales = tuple(scales)
        levels = [-math.log2(scale) for scale in scales]
        if any(abs(level - (round(levels[0]) + i)) > 1e-6 for i, level in enumerate(levels)):
            raise ConfigValueError(
                f"the regions' feature maps have the strides {[1 / s for s in scales]}, "
                "but these must be powers of 2 that double"
            )
        self.min_level, self.max_level = round(levels[0]), round(levels[-1])
        self.canonical_level = canonical_level
        self.canonical_box_size = canonical_box_size
        self.level_poolers = nn.ModuleList(
            _make_pooler(pooler_type, self.output_size, scale, sampling_ratio) for scale in scales
        )

    @batched
    def forward(self, x: Sequence[torch.Tensor], box_lists: RoiRows | Sequence[Boxes]) -> torch.Tensor:
        """Crop the regions.

        Args:
            x: the levels' (N, C, Hi, Wi) maps, finest first.
            box_lists: the regions in input pixels: the boxes of each of the N images, or rows.

        Returns:
            (M, C, *output_size) features, the regions of all images in order; zero for rows that
            are not valid.
        """
        if not isinstance(box_lists, RoiRows) and len(box_lists) == 0:
            return x[0].new_zeros((0, x[0].shape[1], *self.output_size))
        rows = box_lists if isinstance(box_lists, RoiRows) else RoiRows.from_boxes(box_lists)
        rois = _with_image(rows)
        if len(self.level_poolers) == 1:
            levels = torch.zeros_like(rows.image)
        else:
            levels = _levels(
                rows.boxes,
                self.min_level,
                self.max_level,
                self.canonical_box_size,
                self.canonical_level,
            )
        geometry = self.common_geometry()
        if fixed_shapes(rois.device):
            if geometry is None or x[0].dtype == torch.float64:
                return self._pool_masked(x, rois, levels, rows.valid)
            levels = levels.masked_fill(~rows.valid, -1)
            return roi_align_pyramid(x, rois, levels, geometry)
        if geometry is None or not can_pool_bags(x, geometry):
            return self._pool_indexed(x, rois, levels, rows.valid)
        levels = levels.masked_fill(~rows.valid, -1)
        return pool_bags(x, rois, levels, geometry)

    def common_geometry(self) -> PoolGeometry | None:
        """Return how all levels' ROIAligns cut regions out; None for other poolers."""
        if any(type(pooler) is not ROIAlign for pooler in self.level_poolers):
            return None
        first: Any = self.level_poolers[0]
        return PoolGeometry(self.output_size, self.scales, first.sampling_ratio, first.aligned)

    def _pool_indexed(
        self, x: Sequence[torch.Tensor], rois: torch.Tensor, levels: torch.Tensor, valid: torch.Tensor
    ) -> torch.Tensor:
        """Pool on every level the regions that belong there; reads their number."""
        parts, order = [], []
        levels = torch.where(valid, levels, torch.full_like(levels, -1))
        for level, pooler in enumerate(self.level_poolers):
            index = (levels == level).nonzero()[:, 0]
            parts.append(pooler(x[level], rois[index]))
            order.append(index)
        pooled = torch.cat(parts)
        output = pooled.new_zeros((rois.shape[0], *pooled.shape[1:]))
        return output.index_copy(0, torch.cat(order), pooled)

    def _pool_masked(
        self, x: Sequence[torch.Tensor], rois: torch.Tensor, levels: torch.Tensor, valid: torch.Tensor
    ) -> torch.Tensor:
        """Pool on every level all regions, those of other levels shrunk to a point, and add up."""
        output: torch.Tensor | None = None
        for level, pooler in enumerate(self.level_poolers):
            here = (levels == level) & valid
            pooled = pooler(x[level], shrink_others(rois, here))
            pooled = torch.where(here[:, None, None, None], pooled, torch.zeros_like(pooled))
            output = pooled if output is None else output + pooled
        assert output is not None
        return output
