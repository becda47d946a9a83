"""Operators the models are made of: norms, convolutions, ROIAlign, the NMS family, masks."""

from __future__ import annotations

from cardamage.absent import absent_names

from .batch_norm import FrozenBatchNorm2d, LayerNorm, NaiveSyncBatchNorm, get_norm
from .blocks import CNNBlockBase, DepthwiseSeparableConv2d
from .deform_conv import DeformConv, ModulatedDeformConv
from .local_response_norm import LocalResponseNorm
from .losses import ciou_loss, diou_loss
from .mask_ops import encode_pasted_masks, paste_masks_in_image
from .nms import batched_nms, nms, nms_keep_mask
from .rasterize import PackedPolygons, pack_polygons, rasterize_polygons, rasterize_polygons_in_boxes
from .roi_align import ROIAlign, roi_align
from .shape_spec import ShapeSpec
from .suppression import batched_soft_nms, greedy_keep, soft_nms_scores
from .wrappers import (
    BatchNorm2d,
    Conv2d,
    ConvTranspose2d,
    Linear,
    cat,
    cross_entropy,
    empty_input_loss_func_wrapper,
    interpolate,
    move_device_like,
    nonzero_tuple,
    shapes_to_tensor,
)

__all__ = [
    "BatchNorm2d",
    "CNNBlockBase",
    "Conv2d",
    "ConvTranspose2d",
    "DeformConv",
    "DepthwiseSeparableConv2d",
    "FrozenBatchNorm2d",
    "LayerNorm",
    "Linear",
    "LocalResponseNorm",
    "ModulatedDeformConv",
    "NaiveSyncBatchNorm",
    "PackedPolygons",
    "ROIAlign",
    "ShapeSpec",
    "batched_nms",
    "batched_soft_nms",
    "cat",
    "ciou_loss",
    "cross_entropy",
    "diou_loss",
    "empty_input_loss_func_wrapper",
    "encode_pasted_masks",
    "get_norm",
    "greedy_keep",
    "interpolate",
    "move_device_like",
    "nms",
    "nms_keep_mask",
    "nonzero_tuple",
    "pack_polygons",
    "paste_masks_in_image",
    "rasterize_polygons",
    "rasterize_polygons_in_boxes",
    "roi_align",
    "shapes_to_tensor",
    "soft_nms_scores",
]

__getattr__ = absent_names(__name__)
