"""Defaults of the anchors and the region proposal network."""

from __future__ import annotations

from typing import Any

__all__ = ["anchor_generator", "proposal_generator", "rpn"]


def anchor_generator() -> dict[str, Any]:
    """SIZES and ASPECT_RATIOS hold one list for each feature map, or one list for all of them."""
    return {
        "NAME": "DefaultAnchorGenerator",
        # Square roots of the areas, in input pixels.
        "SIZES": [[32, 64, 128, 256, 512]],
        # Height over width.
        "ASPECT_RATIOS": [[0.5, 1.0, 2.0]],
        # Degrees, for rotated anchors only.
        "ANGLES": [[-90, 0, 90]],
        # Where the first anchor's centre is, as a share of the stride.
        "OFFSET": 0.0,
    }


def proposal_generator() -> dict[str, Any]:
    """MIN_SIZE is the least side of a proposal, in input pixels."""
    return {"NAME": "RPN", "MIN_SIZE": 0}


def rpn() -> dict[str, Any]:
    """Top-k counts before NMS are for each feature map, after it for the whole image."""
    return {
        "HEAD_NAME": "StandardRPNHead",
        "IN_FEATURES": ["res4"],
        # Anchors this many pixels outside the image are left out; -1 keeps all.
        "BOUNDARY_THRESH": -1,
        # Below the first threshold background, above the second object, between them ignored.
        "IOU_THRESHOLDS": [0.3, 0.7],
        "IOU_LABELS": [0, -1, 1],
        # Ours: "max_iou" labels anchors by these thresholds; "atss" by one that each object sets itself, from
        # the ATSS_TOPK places of each level that are nearest to it (Zhang et al., ATSS, CVPR 2020).
        "ASSIGNER": "max_iou",
        "ATSS_TOPK": 9,
        "BATCH_SIZE_PER_IMAGE": 256,
        "POSITIVE_FRACTION": 0.5,
        "BBOX_REG_LOSS_TYPE": "smooth_l1",
        "BBOX_REG_LOSS_WEIGHT": 1.0,
        "BBOX_REG_WEIGHTS": (1.0, 1.0, 1.0, 1.0),
        # 0 makes it an L1 loss.
        "SMOOTH_L1_BETA": 0.0,
        "LOSS_WEIGHT": 1.0,
        "PRE_NMS_TOPK_TRAIN": 12000,
        "PRE_NMS_TOPK_TEST": 6000,
        "POST_NMS_TOPK_TRAIN": 2000,
        "POST_NMS_TOPK_TEST": 1000,
        "NMS_THRESH": 0.7,
        # -1: as many channels as the feature map has.
        "CONV_DIMS": [-1],
        # Ours: train the head on the pixels of the sampled anchors alone. The same losses and gradients but
        # for rounding, without the backward pass over whole feature maps, which is nearly all zeros.
        "SAMPLED_GRADIENT": True,
    }
