"""Operators the models are made of: norms, convolutions, ROIAlign, the NMS family, masks."""

from __future__ import annotations

from .blocks import CNNBlockBase
from .deform_conv import DeformConv, ModulatedDeformConv
from .frozen_batch_norm import FrozenBatchNorm2d
from .mask_ops import encode_pasted_masks, paste_masks_in_image
from .nms import batched_nms, nms, nms_keep_mask
from .norm import ChannelLayerNorm, get_norm
from .rasterize import PackedPolygons, pack_polygons, rasterize_polygons, rasterize_polygons_in_boxes
from .roi_align import ROIAlign, roi_align
from .shape_spec import ShapeSpec
from .soft_nms import batched_soft_nms, soft_nms_scores
from .wrappers import (
    BatchNorm2d,
    Conv2d,
    ConvTranspose2d,
    Linear,
    cat,
    cross_entropy,
    interpolate,
    nonzero_tuple,
)

__all__ = [
    "BatchNorm2d",
    "CNNBlockBase",
    "ChannelLayerNorm",
    "Conv2d",
    "ConvTranspose2d",
    "DeformConv",
    "FrozenBatchNorm2d",
    "Linear",
    "ModulatedDeformConv",
    "PackedPolygons",
    "ROIAlign",
    "ShapeSpec",
    "batched_nms",
    "batched_soft_nms",
    "cat",
    "cross_entropy",
    "encode_pasted_masks",
    "get_norm",
    "interpolate",
    "nms",
    "nms_keep_mask",
    "nonzero_tuple",
    "pack_polygons",
    "paste_masks_in_image",
    "rasterize_polygons",
    "rasterize_polygons_in_boxes",
    "roi_align",
    "soft_nms_scores",
]
