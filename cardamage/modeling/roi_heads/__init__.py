"""What is computed for regions: classes, boxes and masks."""

from __future__ import annotations

from cardamage.absent import absent_names
from cardamage.modeling.registry import ROI_KEYPOINT_HEAD_REGISTRY

from .base import ROI_HEADS_REGISTRY, ROIHeads, build_roi_heads, select_foreground_proposals
from .box_head import ROI_BOX_HEAD_REGISTRY, FastRCNNConvFCHead, build_box_head
from .cascade_rcnn import CascadeROIHeads
from .fast_rcnn import FastRCNNOutputLayers, fast_rcnn_inference
from .mask_head import (
    ROI_MASK_HEAD_REGISTRY,
    BaseMaskRCNNHead,
    MaskRCNNConvUpsampleHead,
    build_mask_head,
)
from .point_rend import PointRendMaskHead
from .res5 import Res5ROIHeads
from .roi_heads import StandardROIHeads

__all__ = [
    "ROI_KEYPOINT_HEAD_REGISTRY",
    "ROI_BOX_HEAD_REGISTRY",
    "ROI_HEADS_REGISTRY",
    "ROI_MASK_HEAD_REGISTRY",
    "BaseMaskRCNNHead",
    "CascadeROIHeads",
    "FastRCNNConvFCHead",
    "FastRCNNOutputLayers",
    "MaskRCNNConvUpsampleHead",
    "PointRendMaskHead",
    "ROIHeads",
    "Res5ROIHeads",
    "StandardROIHeads",
    "build_box_head",
    "build_mask_head",
    "build_roi_heads",
    "fast_rcnn_inference",
    "select_foreground_proposals",
]

__getattr__ = absent_names(__name__)
