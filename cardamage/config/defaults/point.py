"""Defaults of masks that are refined at points, by the names that Detectron2's project PointRend has."""

from __future__ import annotations

from typing import Any

__all__ = ["coarse_mask", "point_head"]


def coarse_mask() -> dict[str, Any]:
    """Ours, of ROI_MASK_HEAD: NAME PointRendMaskHead predicts masks again where they are undecided.

    After Kirillov et al., PointRend, CVPR 2020. Its coarse mask is the usual head's; where POOLER_TYPE is
    empty it is the paper's, of linear layers on POOLER_RESOLUTION points a side.
    """
    return {
        # False leaves the coarse masks alone.
        "POINT_HEAD_ON": True,
        # Feature maps, linear layers and their channels of the paper's coarse mask.
        "IN_FEATURES": ["p2"],
        "NUM_FC": 2,
        "FC_DIM": 1024,
        # Its side. Refined masks have this side, doubled POINT_HEAD.SUBDIVISION_STEPS times.
        "OUTPUT_SIDE_RESOLUTION": 7,
    }


def point_head() -> dict[str, Any]:
    """Ours: used where ROI_MASK_HEAD.NAME is PointRendMaskHead."""
    return {
        "NAME": "StandardPointHead",
        # 0: as many as ROI_HEADS has. A file may repeat that number.
        "NUM_CLASSES": 0,
        # Feature maps that points are read from.
        "IN_FEATURES": ["p2"],
        "NUM_FC": 3,
        "FC_DIM": 256,
        # One mask for all classes from the points only; ROI_MASK_HEAD's key does so for coarse masks, too.
        "CLS_AGNOSTIC_MASK": False,
        # The coarse logits go into every layer, not only into the first.
        "COARSE_PRED_EACH_LAYER": True,
        # Points of a mask in training. Of OVERSAMPLE_RATIO times as many the least decided are taken, for the
        # share IMPORTANCE_SAMPLE_RATIO; the others lie anywhere.
        "TRAIN_NUM_POINTS": 14 * 14,
        "OVERSAMPLE_RATIO": 3.0,
        "IMPORTANCE_SAMPLE_RATIO": 0.75,
        # Doublings of a mask in inference, 7 to 224, and the points predicted after each.
        "SUBDIVISION_STEPS": 5,
        "SUBDIVISION_NUM_POINTS": 28 * 28,
    }
