"""Defaults of the per-region heads."""

from __future__ import annotations

from typing import Any

from .point import coarse_mask

__all__ = ["roi_box_cascade_head", "roi_box_head", "roi_heads", "roi_keypoint_head", "roi_mask_head"]


def roi_heads() -> dict[str, Any]:
    """NUM_CLASSES counts the foreground classes; unless set, it follows from the data."""
    return {
        "NAME": "Res5ROIHeads",
        "NUM_CLASSES": 80,
        "IN_FEATURES": ["res4"],
        "IOU_THRESHOLDS": [0.5],
        "IOU_LABELS": [0, 1],
        "BATCH_SIZE_PER_IMAGE": 512,
        "POSITIVE_FRACTION": 0.25,
        # Ours: "random" draws background for training at random; "hard_negative" takes what the box head
        # finds most like an object (after Shrivastava et al., OHEM, CVPR 2016). For it the head runs once
        # more, on all proposals, without gradient.
        "SAMPLER": "random",
        "SCORE_THRESH_TEST": 0.05,
        "NMS_THRESH_TEST": 0.5,
        "PROPOSAL_APPEND_GT": True,
        # Ours: "soft_linear" and "soft_gaussian" lower overlapping scores instead of dropping the box
        # (Bodla et al., Soft-NMS, ICCV 2017); what falls below SOFT_NMS_SCORE_THRESH is dropped.
        # "diou" takes the distance of the centres off the overlap (Zheng et al., DIoU-NMS, AAAI 2020).
        # "cluster" is "hard" in rounds over all boxes at once, "cluster_score" lowers scores by the overlap
        # with what it keeps (Zheng et al., Cluster-NMS, 2020). In "fast" dropped boxes drop others (Bolya et
        # al., YOLACT, ICCV 2019). "matrix_linear" and "matrix_gaussian" lower scores in one pass (Wang et
        # al., SOLOv2, NeurIPS 2020). "mask" compares masks instead of boxes, of the best MASK_NMS_CANDIDATES
        # whose boxes overlap by no more than MASK_NMS_BOX_THRESH. Those that lower scores read
        # SOFT_NMS_SCORE_THRESH, the gaussians and cluster_score SOFT_NMS_SIGMA.
        "NMS_TYPE": "hard",
        # Ours: whether a box of another class suppresses, too: one object, one class.
        "NMS_CLASS_AGNOSTIC": False,
        "SOFT_NMS_SIGMA": 0.5,
        "SOFT_NMS_SCORE_THRESH": 0.001,
        "MASK_NMS_BOX_THRESH": 0.8,
        "MASK_NMS_CANDIDATES": 200,
    }


def roi_box_head() -> dict[str, Any]:
    """NAME is empty for the C4 models, whose head is the trunk's last stage."""
    return {
        "NAME": "",
        "BBOX_REG_LOSS_TYPE": "smooth_l1",
        "BBOX_REG_LOSS_WEIGHT": 1.0,
        "BBOX_REG_WEIGHTS": (10.0, 10.0, 5.0, 5.0),
        "SMOOTH_L1_BETA": 0.0,
        # Ours: tell each side of a box by the scores of so many places, such as 17, and take their mean;
        # "loss_box_dfl" then lowers the distribution focal loss (Li et al., Generalized Focal Loss, NeurIPS
        # 2020), with BBOX_REG_BINS_WEIGHT times BBOX_REG_LOSS_WEIGHT. BBOX_REG_LOSS_TYPE "giou" goes well
        # with it, and then the weight is the paper's. 0 tells boxes by offsets.
        "BBOX_REG_BINS": 0,
        "BBOX_REG_BINS_WEIGHT": 0.125,
        **_pooler(14),
        "NUM_FC": 0,
        "FC_DIM": 1024,
        "NUM_CONV": 0,
        "CONV_DIM": 256,
        "NORM": "",
        "CLS_AGNOSTIC_BBOX_REG": False,
        "TRAIN_ON_PRED_BOXES": False,
        "USE_FED_LOSS": False,
        "USE_SIGMOID_CE": False,
        "FED_LOSS_FREQ_WEIGHT_POWER": 0.5,
        "FED_LOSS_NUM_CLASSES": 50,
        **_class_loss(),
    }


def _class_loss() -> dict[str, Any]:
    return {
        # Ours: "focal" (Lin et al., Focal Loss, ICCV 2017) learns less of regions that are clear already,
        # with softmax or, where USE_SIGMOID_CE is on, a sigmoid for each class. "quality_focal" (Li et al.,
        # Generalized Focal Loss, NeurIPS 2020) has a sigmoid for each class, and its score tells how well
        # the box fits. "seesaw" (Wang et al., Seesaw Loss, CVPR 2021) and "equalization" (Tan et al.,
        # Equalization Loss v2, CVPR 2021; a sigmoid for each class) find the rare classes on the way, and
        # spare them what the objects of others teach.
        "CLASS_LOSS": "cross_entropy",
        # 0 counts clear regions fully. For "quality_focal" it is the paper's beta.
        "FOCAL_LOSS_GAMMA": 2.0,
        # The weight of objects in "focal"; background has what is left to 1. Below 0: no such weights.
        "FOCAL_LOSS_ALPHA": 0.25,
        # The probability of an object that training starts with, for the losses with sigmoid or focus.
        "PRIOR_PROB": 0.01,
        # How much "seesaw" minds how rare a class is, and how wrongly likely.
        "SEESAW_P": 0.8,
        "SEESAW_Q": 2.0,
        # In "equalization" a class is half spared where its objects have pushed it up EQUALIZATION_MU times
        # as much as others have pushed it down, more sharply with a greater _GAMMA; _ALPHA is how much more
        # the few objects of a class that is spared may count.
        "EQUALIZATION_GAMMA": 12.0,
        "EQUALIZATION_MU": 0.8,
        "EQUALIZATION_ALPHA": 4.0,
        # Ours: the share of the truth that is spread evenly over all classes and background (Szegedy et al.,
        # Rethinking the Inception Architecture, CVPR 2016); for "cross_entropy".
        "LABEL_SMOOTHING": 0.0,
        # Ours: rarer classes count more: "inverse" to how many objects of a class DATASETS.TRAIN has, or to
        # their "effective" number, which CLASS_WEIGHTS_BETA bounds (Cui et al., Class-Balanced Loss, CVPR
        # 2019). On average over the objects they count as without it.
        "CLASS_WEIGHTS": "none",
        "CLASS_WEIGHTS_BETA": 0.999,
        # Ours: how much a background region counts in the class loss, beside an object's 1. Above 1 there are
        # fewer false positives, and fewer objects are found.
        "BACKGROUND_WEIGHT": 1.0,
    }


def roi_box_cascade_head() -> dict[str, Any]:
    """One entry for each stage (Cai and Vasconcelos, Cascade R-CNN, CVPR 2018)."""
    return {
        "BBOX_REG_WEIGHTS": (
            (10.0, 10.0, 5.0, 5.0),
            (20.0, 20.0, 10.0, 10.0),
            (30.0, 30.0, 15.0, 15.0),
        ),
        "IOUS": (0.5, 0.6, 0.7),
    }


def roi_mask_head() -> dict[str, Any]:
    """The mask is twice POOLER_RESOLUTION on each side, and doubled again by each further NUM_UPSAMPLE."""
    return {
        "NAME": "MaskRCNNConvUpsampleHead",
        **_pooler(14),
        "NUM_CONV": 0,
        "CONV_DIM": 256,
        "NORM": "",
        "CLS_AGNOSTIC_MASK": False,
        # Ours: "dice" is one minus the overlap of the predicted and the true mask, so that a thin one counts
        # as much as a wide one (Milletari et al., V-Net, 3DV 2016); "bce_dice" adds the two.
        "LOSS": "bce",
        # Ours: pixels on both sides of the true outline count by so much more (after Ronneberger et al.,
        # U-Net, MICCAI 2015), for scratches, which are all outline; 0 for not at all.
        "BOUNDARY_WEIGHT": 0.0,
        # Ours: transposed convolutions, from 1 to 4. Of 14 pooled cells 1 makes masks of 28 (He et al., Mask
        # R-CNN, ICCV 2017), 2 of 56, for scratches that are thinner than a cell of 28. POOLER_RESOLUTION 28
        # gives 56, too, with finer features.
        "NUM_UPSAMPLE": 1,
        **coarse_mask(),
    }


def roi_keypoint_head() -> dict[str, Any]:
    """Keypoints are not trained yet; the keys are here so that configs that hold them load."""
    return {
        "NAME": "KRCNNConvDeconvUpsampleHead",
        **_pooler(14),
        "CONV_DIMS": (512,) * 8,
        "NUM_KEYPOINTS": 17,
        "MIN_KEYPOINTS_PER_IMAGE": 1,
        "NORMALIZE_LOSS_BY_VISIBLE_KEYPOINTS": True,
        "LOSS_WEIGHT": 1.0,
    }


def _pooler(resolution: int) -> dict[str, Any]:
    # A sampling ratio of 0 adapts to the region's size.
    return {"POOLER_RESOLUTION": resolution, "POOLER_SAMPLING_RATIO": 0, "POOLER_TYPE": "ROIAlignV2"}
