"""Defaults of MODEL: the trunk and what is common to all architectures."""

from __future__ import annotations

from typing import Any

from .dense import panoptic_fpn, retinanet, sem_seg_head
from .point import point_head
from .roi import roi_box_cascade_head, roi_box_head, roi_heads, roi_keypoint_head, roi_mask_head
from .rpn import anchor_generator, proposal_generator, rpn

__all__ = ["model"]


def model() -> dict[str, Any]:
    """All of MODEL."""
    return {
        **_common(),
        "BACKBONE": {"NAME": "build_resnet_backbone", "FREEZE_AT": 2, "STEM_LRN": _stem_lrn()},
        "FPN": _fpn(),
        "RESNETS": _resnets(),
        "VGG": _vgg(),
        "CONVNEXT": _convnext(),
        "ANCHOR_GENERATOR": anchor_generator(),
        "PROPOSAL_GENERATOR": proposal_generator(),
        "RPN": rpn(),
        "ROI_HEADS": roi_heads(),
        "ROI_BOX_HEAD": roi_box_head(),
        "ROI_BOX_CASCADE_HEAD": roi_box_cascade_head(),
        "ROI_MASK_HEAD": roi_mask_head(),
        "POINT_HEAD": point_head(),
        "ROI_KEYPOINT_HEAD": roi_keypoint_head(),
        "SEM_SEG_HEAD": sem_seg_head(),
        "PANOPTIC_FPN": panoptic_fpn(),
        "RETINANET": retinanet(),
    }


def _common() -> dict[str, Any]:
    return {
        "LOAD_PROPOSALS": False,
        "MASK_ON": False,
        "KEYPOINT_ON": False,
        "DEVICE": "cuda",
        "META_ARCHITECTURE": "GeneralizedRCNN",
        # Path or URL of a checkpoint to start from; empty: random weights.
        "WEIGHTS": "",
        # In INPUT.FORMAT's order. A std of 1 suits Caffe2's weights, which are scaled in their first layer.
        "PIXEL_MEAN": [103.53, 116.28, 123.675],
        "PIXEL_STD": [1.0, 1.0, 1.0],
        # Ours: torch.compile the parts of a model that train; "auto" does so on a GPU, where the run is long
        # enough to pay for it.
        "COMPILE": "auto",
        # Ours: torch.channels_last memory layout; "auto" takes it where SOLVER.AMP is on, and in any
        # training on a CPU.
        "CHANNELS_LAST": "auto",
    }


def _fpn() -> dict[str, Any]:
    """The feature pyramid."""
    return {
        "IN_FEATURES": [],
        "OUT_CHANNELS": 256,
        "NORM": "",
        "FUSE_TYPE": "sum",
        # Ours: the levels that are computed, such as ["p2"] for objects of a few pixels; empty for all. RPN
        # and ROI_HEADS must read these and no others, and the anchors suit them; see
        # configs/bases/small-objects.yaml.
        "OUT_FEATURES": [],
    }


def _stem_lrn() -> dict[str, Any]:
    """Ours: local response normalization behind the stem, against reflections of light.

    Strong responses hold those of the channels beside them down (Krizhevsky et al., ImageNet Classification,
    NeurIPS 2012): ``x / (K + ALPHA * mean(x²))^BETA`` over SIZE channels, as ``torch.nn.LocalResponseNorm``.
    It has no weights; trunks that were trained without it must learn with it (``FREEZE_AT 0``).
    """
    return {
        "ENABLED": False,
        "SIZE": 5,
        # For responses near 1, as those behind a norm are. The paper's 1e-4 is for responses in the hundreds,
        # and does next to nothing here.
        "ALPHA": 1.0,
        "BETA": 0.75,
        "K": 1.0,
    }


def _resnets() -> dict[str, Any]:
    return {
        "DEPTH": 50,
        "OUT_FEATURES": ["res4"],
        # Groups of the 3x3 convolutions; above 1 it is a ResNeXt.
        "NUM_GROUPS": 1,
        "NORM": "FrozenBN",
        "WIDTH_PER_GROUP": 64,
        # Stride in the 1x1 convolution is MSRA's and Caffe2's way; torchvision strides in the 3x3.
        "STRIDE_IN_1X1": True,
        "RES5_DILATION": 1,
        "RES2_OUT_CHANNELS": 256,
        "STEM_OUT_CHANNELS": 64,
        "DEFORM_ON_PER_STAGE": [False, False, False, False],
        "DEFORM_MODULATED": False,
        "DEFORM_NUM_GROUPS": 1,
    }


def _vgg() -> dict[str, Any]:
    """Ours: for ``build_vgg_fpn_backbone`` (Simonyan and Zisserman, 2014)."""
    return {
        # 11, 13, 16 or 19.
        "DEPTH": 16,
        # Empty is torchvision's vgg16; "BN" its vgg16_bn, "FrozenBN" the same for fine-tuning.
        "NORM": "",
        # By stride, 4 to 32, as a ResNet's.
        "OUT_FEATURES": ["res2", "res3", "res4", "res5"],
    }


def _convnext() -> dict[str, Any]:
    """Ours: for ``build_convnext_fpn_backbone`` (Liu et al., A ConvNet for the 2020s, CVPR 2022)."""
    return {
        # "tiny", "small", "base" or "large".
        "SIZE": "tiny",
        "OUT_FEATURES": ["res2", "res3", "res4", "res5"],
        # The factor that each block's result begins with. With SGD and random weights so small a one keeps
        # the blocks from learning for thousands of iterations: 1 lets them.
        "LAYER_SCALE": 1e-6,
        # The probability that a picture skips the last block in training; less for those before it.
        "DROP_PATH": 0.1,
    }
