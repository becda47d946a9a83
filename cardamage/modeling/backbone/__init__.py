"""Networks from images to feature maps."""

from __future__ import annotations

from cardamage.absent import absent_names

from .backbone import Backbone
from .build import BACKBONE_REGISTRY, build_backbone
from .convnext import ConvNeXt, build_convnext_backbone, build_convnext_fpn_backbone
from .fpn import FPN, LastLevelMaxPool, LastLevelP6P7, build_resnet_fpn_backbone
from .resnet import (
    BasicBlock,
    BasicStem,
    BottleneckBlock,
    DeformBottleneckBlock,
    ResNet,
    ResNetBlockBase,
    build_resnet_backbone,
    make_stage,
)
from .vgg import VGG, build_vgg_backbone, build_vgg_fpn_backbone

__all__ = [
    "BACKBONE_REGISTRY",
    "FPN",
    "VGG",
    "Backbone",
    "BasicBlock",
    "BasicStem",
    "BottleneckBlock",
    "ConvNeXt",
    "DeformBottleneckBlock",
    "LastLevelMaxPool",
    "LastLevelP6P7",
    "ResNet",
    "ResNetBlockBase",
    "build_backbone",
    "build_convnext_backbone",
    "build_convnext_fpn_backbone",
    "build_resnet_backbone",
    "build_resnet_fpn_backbone",
    "build_vgg_backbone",
    "build_vgg_fpn_backbone",
    "make_stage",
]

__getattr__ = absent_names(__name__)
