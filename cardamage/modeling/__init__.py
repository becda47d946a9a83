"""The model: backbones, proposals, heads on regions, and what they are built from."""

from __future__ import annotations

from cardamage.absent import absent_names
from cardamage.layers import ShapeSpec

from .anchor_generator import ANCHOR_GENERATOR_REGISTRY, build_anchor_generator
from .backbone import (
    BACKBONE_REGISTRY,
    FPN,
    Backbone,
    ResNet,
    ResNetBlockBase,
    build_backbone,
    build_resnet_backbone,
    make_stage,
)
from .meta_arch import META_ARCH_REGISTRY, GeneralizedRCNN, ProposalNetwork, build_model
from .postprocessing import detector_postprocess
from .proposal_generator import (
    PROPOSAL_GENERATOR_REGISTRY,
    RPN_HEAD_REGISTRY,
    build_proposal_generator,
    build_rpn_head,
)
from .registry import ROI_KEYPOINT_HEAD_REGISTRY, SEM_SEG_HEADS_REGISTRY
from .roi_heads import (
    ROI_BOX_HEAD_REGISTRY,
    ROI_HEADS_REGISTRY,
    ROI_MASK_HEAD_REGISTRY,
    BaseMaskRCNNHead,
    CascadeROIHeads,
    FastRCNNOutputLayers,
    Res5ROIHeads,
    ROIHeads,
    StandardROIHeads,
    build_box_head,
    build_mask_head,
    build_roi_heads,
)
from .test_time_augmentation import DatasetMapperTTA, GeneralizedRCNNWithTTA

__all__ = [
    "ROI_KEYPOINT_HEAD_REGISTRY",
    "SEM_SEG_HEADS_REGISTRY",
    "ANCHOR_GENERATOR_REGISTRY",
    "BACKBONE_REGISTRY",
    "FPN",
    "META_ARCH_REGISTRY",
    "PROPOSAL_GENERATOR_REGISTRY",
    "ROI_BOX_HEAD_REGISTRY",
    "ROI_HEADS_REGISTRY",
    "ROI_MASK_HEAD_REGISTRY",
    "RPN_HEAD_REGISTRY",
    "Backbone",
    "BaseMaskRCNNHead",
    "CascadeROIHeads",
    "DatasetMapperTTA",
    "FastRCNNOutputLayers",
    "GeneralizedRCNN",
    "GeneralizedRCNNWithTTA",
    "ProposalNetwork",
    "ROIHeads",
    "Res5ROIHeads",
    "ResNet",
    "ResNetBlockBase",
    "ShapeSpec",
    "StandardROIHeads",
    "build_anchor_generator",
    "build_backbone",
    "build_box_head",
    "build_mask_head",
    "build_model",
    "build_proposal_generator",
    "build_resnet_backbone",
    "build_roi_heads",
    "build_rpn_head",
    "detector_postprocess",
    "make_stage",
]

__getattr__ = absent_names(__name__)
