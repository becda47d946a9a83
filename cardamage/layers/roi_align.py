"""Cutting boxes out of feature maps."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import nn
from torchvision.ops import roi_align

__all__ = ["PoolGeometry", "ROIAlign", "roi_align"]


class PoolGeometry(NamedTuple):
    """How regions are cut out of the maps of a pyramid.

    Attributes:
        output_size: (height, width) of the result, in cells.
        scales: every level's cells of the map per pixel of the boxes.
        sampling_ratio: samples per side of each output cell; 0 for as many as the map has cells.
        aligned: see :class:`ROIAlign`.
    """

    output_size: tuple[int, int]
    scales: tuple[float, ...]
    sampling_ratio: int
    aligned: bool


class ROIAlign(nn.Module):
    """Torchvision's RoIAlign as a module (Mask R-CNN, He 2017).

    ``aligned`` shifts by half a cell, so that a feature cell's centre is where the pixel model says: the
    default here, other than torchvision's.
    """

    def __init__(
        self,
        output_size: int | tuple[int, int],
        spatial_scale: float,
        sampling_ratio: int,
        aligned: bool = True,
    ) -> None:
        """Set the size of the result.

        Args:
            output_size: (height, width), or one number for both.
            spatial_scale: cells of the map per pixel of the boxes.
            sampling_ratio: samples per side of each output cell; 0 for as many as the map has cells.
            aligned: see the class.
        """
        super().__init__()
        size = (output_size, output_size) if isinstance(output_size, int) else tuple(output_size)
        self.output_size = size
        self.spatial_scale = spatial_scale
        self.sampling_ratio = sampling_ratio
        self.aligned = aligned

    def forward(self, input: torch.Tensor, rois: torch.Tensor) -> torch.Tensor:
        """Cut out boxes.

        Args:
            input: (N, C, H, W).
            rois: (R, 5): index into N, then x0, y0, x1, y1 in pixels.

        Returns:
            (R, C, *output_size) of the input's dtype.
        """
        # Half precision can't tell the pixels of large photos apart: bfloat16 knows every eighth past 1024.
        dtype = torch.promote_types(input.dtype, torch.float32)
        return roi_align(
            input.to(dtype),
            rois.to(dtype),
            self.output_size,
            self.spatial_scale,
            self.sampling_ratio,
            self.aligned,
        ).to(input.dtype)

    def extra_repr(self) -> str:
        """Describe the layer in one line."""
        return (
            f"output_size={self.output_size}, spatial_scale={self.spatial_scale}, "
            f"sampling_ratio={self.sampling_ratio}, aligned={self.aligned}"
        )
