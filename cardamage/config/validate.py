"""Checks of values that have the right type and still can't work."""

from __future__ import annotations

import math
import re
from typing import Any

from ..errors import ConfigValueError
from ..utils.suggest import did_you_mean
from .coerce import coerce
from .loss_checks import CLASS_LOSSES, CLASS_WEIGHTS, MASK_LOSSES, check_class_loss
from .node import CfgNode
from .pyramid_checks import check_pyramid

__all__ = ["validate_cfg"]

_BOX_LOSSES = ("smooth_l1", "l1", "iou", "giou", "diou", "ciou")
_NORMS = ("", "BN", "SyncBN", "nnSyncBN", "FrozenBN", "GN", "LN")
_POOLERS = ("ROIAlignV2", "ROIAlign", "ROIPool", "ROIAlignRotated")
_ON_OFF = (True, False)

_CHOICES: dict[str, tuple[Any, ...]] = {
    "FLOAT32_PRECISION": ("", "highest", "high", "medium"),
    "DATALOADER.PIN_MEMORY": _ON_OFF,
    "DATALOADER.PREFETCH_DEVICE": _ON_OFF,
    "DATALOADER.SAMPLER_TRAIN": (
        "TrainingSampler",
        "RepeatFactorTrainingSampler",
        "ClassAwareSampler",
        "RandomSubsetTrainingSampler",
    ),
    "DATALOADER.SIZE_GROUPING": ("orientation", "ratio", "size"),
    "INPUT.CROP.TYPE": ("relative", "relative_range", "absolute", "absolute_range"),
    "INPUT.FORMAT": ("BGR", "RGB"),
    "INPUT.MASK_FORMAT": ("polygon", "bitmask"),
    "INPUT.MIN_SIZE_TRAIN_SAMPLING": ("choice", "range"),
    "INPUT.RANDOM_FLIP": ("horizontal", "vertical", "none"),
    "INPUT.RESIZE": ("native", "exact"),
    "INPUT.SCALED_DECODE": _ON_OFF,
    "MODEL.BACKBONE.STEM_LRN.ENABLED": _ON_OFF,
    "MODEL.CHANNELS_LAST": (*_ON_OFF, "auto"),
    "MODEL.COMPILE": (*_ON_OFF, "auto"),
    "MODEL.CONVNEXT.SIZE": ("tiny", "small", "base", "large"),
    "MODEL.FPN.FUSE_TYPE": ("sum", "avg"),
    "MODEL.FPN.NORM": _NORMS,
    "MODEL.POINT_HEAD.NAME": ("StandardPointHead",),
    "MODEL.RESNETS.DEPTH": (18, 34, 50, 101, 152),
    "MODEL.RESNETS.NORM": _NORMS,
    "MODEL.ROI_BOX_HEAD.BBOX_REG_LOSS_TYPE": _BOX_LOSSES,
    "MODEL.ROI_BOX_HEAD.CLASS_LOSS": CLASS_LOSSES,
    "MODEL.ROI_BOX_HEAD.CLASS_WEIGHTS": CLASS_WEIGHTS,
    "MODEL.ROI_BOX_HEAD.NORM": _NORMS,
    "MODEL.ROI_BOX_HEAD.POOLER_TYPE": _POOLERS,
    "MODEL.ROI_HEADS.NMS_CLASS_AGNOSTIC": _ON_OFF,
    "MODEL.ROI_HEADS.NMS_TYPE": (
        "hard",
        "soft_linear",
        "soft_gaussian",
        "diou",
        "cluster",
        "cluster_score",
        "fast",
        "matrix_linear",
        "matrix_gaussian",
        "mask",
    ),
    "MODEL.ROI_MASK_HEAD.LOSS": MASK_LOSSES,
    "MODEL.ROI_HEADS.SAMPLER": ("random", "hard_negative"),
    "MODEL.ROI_MASK_HEAD.NORM": _NORMS,
    # Without one the head is given the feature maps.
    "MODEL.ROI_MASK_HEAD.POOLER_TYPE": ("", *_POOLERS),
    "MODEL.RPN.BBOX_REG_LOSS_TYPE": _BOX_LOSSES,
    "MODEL.RPN.ASSIGNER": ("max_iou", "atss"),
    "MODEL.RPN.SAMPLED_GRADIENT": _ON_OFF,
    "MODEL.VGG.DEPTH": (11, 13, 16, 19),
    "MODEL.VGG.NORM": _NORMS,
    "SOLVER.AMP.DTYPE": ("auto", "float16", "bfloat16"),
    "SOLVER.CLIP_GRADIENTS.CLIP_TYPE": ("value", "norm", "full_model"),
    "SOLVER.FUSED": (*_ON_OFF, "auto"),
    "SOLVER.WARMUP_METHOD": ("linear", "constant"),
    "TEST.AUG.MERGE": ("nms", "weighted_boxes"),
    "TEST.BEST_CHECKPOINT.MODE": ("max", "min"),
    "TEST.FUSE": _ON_OFF,
    "TEST.PRECISION": ("auto", "float32", "bfloat16", "float16"),
    "TEST.WINOGRAD": _ON_OFF,
}

# Least and greatest value; None is open.
_RANGES: dict[str, tuple[float, float | None]] = {
    "DATALOADER.BACKGROUND_RATIO": (0, 0.9),
    "DATALOADER.NUM_WORKERS": (0, None),
    "DATALOADER.REPEAT_THRESHOLD": (0, 1),
    "INPUT.COLOR.PROBABILITY": (0, 1),
    "INPUT.MAX_SIZE_TEST": (1, None),
    "INPUT.MAX_SIZE_TRAIN": (1, None),
    "INPUT.MIN_SIZE_TEST": (0, None),
    "MODEL.BACKBONE.FREEZE_AT": (0, None),
    "MODEL.BACKBONE.STEM_LRN.ALPHA": (0, None),
    "MODEL.BACKBONE.STEM_LRN.BETA": (0, None),
    "MODEL.BACKBONE.STEM_LRN.SIZE": (1, None),
    "MODEL.CONVNEXT.DROP_PATH": (0, 1),
    "MODEL.CONVNEXT.LAYER_SCALE": (0, None),
    "MODEL.ROI_BOX_HEAD.BBOX_REG_BINS_WEIGHT": (0, None),
    "MODEL.ROI_BOX_HEAD.EQUALIZATION_ALPHA": (0, None),
    "MODEL.ROI_BOX_HEAD.EQUALIZATION_GAMMA": (0, None),
    "MODEL.ROI_BOX_HEAD.EQUALIZATION_MU": (0, None),
    "MODEL.ROI_BOX_HEAD.FOCAL_LOSS_ALPHA": (-1, 1),
    "MODEL.ROI_BOX_HEAD.FOCAL_LOSS_GAMMA": (0, None),
    "MODEL.ROI_BOX_HEAD.SEESAW_P": (0, None),
    "MODEL.ROI_BOX_HEAD.SEESAW_Q": (0, None),
    "MODEL.POINT_HEAD.FC_DIM": (1, None),
    "MODEL.POINT_HEAD.IMPORTANCE_SAMPLE_RATIO": (0, 1),
    "MODEL.POINT_HEAD.NUM_FC": (1, None),
    "MODEL.POINT_HEAD.OVERSAMPLE_RATIO": (1, None),
    "MODEL.POINT_HEAD.SUBDIVISION_NUM_POINTS": (1, None),
    "MODEL.POINT_HEAD.SUBDIVISION_STEPS": (0, 7),
    "MODEL.POINT_HEAD.TRAIN_NUM_POINTS": (1, None),
    "MODEL.ROI_HEADS.BATCH_SIZE_PER_IMAGE": (1, None),
    "MODEL.ROI_HEADS.MASK_NMS_BOX_THRESH": (0, 1),
    "MODEL.ROI_HEADS.MASK_NMS_CANDIDATES": (1, None),
    "MODEL.ROI_HEADS.NMS_THRESH_TEST": (0, 1),
    "MODEL.ROI_HEADS.NUM_CLASSES": (1, None),
    "MODEL.ROI_HEADS.POSITIVE_FRACTION": (0, 1),
    "MODEL.ROI_HEADS.SCORE_THRESH_TEST": (0, 1),
    "MODEL.ROI_HEADS.SOFT_NMS_SCORE_THRESH": (0, 1),
    "MODEL.ROI_MASK_HEAD.FC_DIM": (1, None),
    "MODEL.ROI_MASK_HEAD.NUM_FC": (1, None),
    "MODEL.ROI_MASK_HEAD.BOUNDARY_WEIGHT": (0, None),
    "MODEL.ROI_MASK_HEAD.NUM_UPSAMPLE": (1, 4),
    "MODEL.ROI_MASK_HEAD.OUTPUT_SIDE_RESOLUTION": (1, 56),
    "MODEL.RPN.BATCH_SIZE_PER_IMAGE": (1, None),
    "MODEL.RPN.NMS_THRESH": (0, 1),
    "MODEL.RPN.POSITIVE_FRACTION": (0, 1),
    "SOLVER.BASE_LR": (0, None),
    "SOLVER.CHECKPOINT_PERIOD": (1, None),
    "MODEL.RPN.ATSS_TOPK": (1, None),
    "SOLVER.EMA.DECAY": (0, 1),
    "SOLVER.IMS_PER_BATCH": (1, None),
    "SOLVER.MAX_ITER": (0, None),
    "SOLVER.MOMENTUM": (0, 1),
    "SOLVER.WARMUP_ITERS": (0, None),
    "TEST.AUG.MERGE_THRESH": (0, 1),
    "TEST.DETECTIONS_PER_IMAGE": (1, None),
    "TEST.EVAL_PERIOD": (0, None),
    "TEST.IMS_PER_BATCH": (1, None),
    "WRITER_PERIOD": (1, None),
}

_ABOVE_ZERO = ("MODEL.BACKBONE.STEM_LRN.K", "MODEL.ROI_HEADS.SOFT_NMS_SIGMA")


def validate_cfg(cfg: CfgNode) -> None:
    """Refuse values that can't work, before anything is built from them.

    Args:
        cfg: the whole tree.

    Raises:
        ConfigValueError: names the key, its value and what it may be.
    """
    for key, choices in _CHOICES.items():
        _check_choice(key, _value(cfg, key), choices)
    for key, (least, greatest) in _RANGES.items():
        _check_range(key, _value(cfg, key), least, greatest)
    for key in _ABOVE_ZERO:
        if not _is_number(_value(cfg, key)) or _value(cfg, key) <= 0:
            raise ConfigValueError(f"{key} is {_value(cfg, key)}; it must be above 0.")
    check_class_loss(cfg)
    if cfg.MODEL.ROI_HEADS.NMS_TYPE == "mask" and not cfg.MODEL.MASK_ON:
        raise ConfigValueError(
            "MODEL.ROI_HEADS.NMS_TYPE is 'mask', which compares masks, but MODEL.MASK_ON is False: "
            "set it to True, or choose a kind that compares boxes."
        )
    _check_device(cfg)
    _check_sizes(cfg)
    _check_pixels(cfg)
    check_pyramid(cfg)
    _check_colors(cfg)
    coerce(cfg.INPUT.FLIP_CLASS_PAIRS, "auto", "INPUT.FLIP_CLASS_PAIRS")
    _check_steps(cfg)
    _check_names(cfg)


def _value(cfg: CfgNode, key: str) -> Any:
    node: Any = cfg
    for name in key.split("."):
        node = node[name]
    return node


def _check_choice(key: str, value: Any, choices: tuple[Any, ...]) -> None:
    if value in choices:
        return
    listed = ", ".join(repr(choice) for choice in choices)
    hint = did_you_mean(str(value), [str(choice) for choice in choices if choice not in ("", True, False)])
    raise ConfigValueError(f"{key} is {value!r}; it must be one of {listed}{hint or '.'}")


def _check_range(key: str, value: Any, least: float, greatest: float | None) -> None:
    if _is_number(value) and value >= least and (greatest is None or value <= greatest):
        return
    bounds = f"at least {least}" if greatest is None else f"between {least} and {greatest}"
    raise ConfigValueError(f"{key} is {value!r}; it must be {bounds}.")


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and math.isfinite(value)


def _check_device(cfg: CfgNode) -> None:
    device = cfg.MODEL.DEVICE
    if not re.fullmatch(r"(cpu|cuda|mps|xpu)(:\d+)?", device):
        raise ConfigValueError(f"MODEL.DEVICE is {device!r}; it must be cpu, cuda, or cuda:N of GPU N.")


def _check_sizes(cfg: CfgNode) -> None:
    sizes = cfg.INPUT.MIN_SIZE_TRAIN
    if not sizes or any(size < 0 for size in sizes):
        raise ConfigValueError(f"INPUT.MIN_SIZE_TRAIN is {sizes!r}; it must hold sizes in pixels.")
    if cfg.INPUT.MIN_SIZE_TRAIN_SAMPLING == "range" and len(sizes) != 2:
        raise ConfigValueError(
            f"INPUT.MIN_SIZE_TRAIN is {sizes!r}; with MIN_SIZE_TRAIN_SAMPLING 'range' it must hold two sizes."
        )


def _check_pixels(cfg: CfgNode) -> None:
    mean, std = cfg.MODEL.PIXEL_MEAN, cfg.MODEL.PIXEL_STD
    if len(mean) != len(std):
        raise ConfigValueError(
            f"MODEL.PIXEL_MEAN has {len(mean)} values and MODEL.PIXEL_STD has {len(std)}; "
            "both must have one for each channel."
        )
    if any(value <= 0 for value in std):
        raise ConfigValueError(f"MODEL.PIXEL_STD is {std!r}; every value must be above 0.")


def _check_colors(cfg: CfgNode) -> None:
    limits = {"BRIGHTNESS": (0, None), "CONTRAST": (0, None), "SATURATION": (0, None), "HUE": (-0.5, 0.5)}
    for name, (least, greatest) in limits.items():
        key, value = f"INPUT.COLOR.{name}", cfg.INPUT.COLOR[name]
        pair = isinstance(value, (list, tuple)) and len(value) == 2 and all(map(_is_number, value))
        if not pair or value[0] > value[1]:
            raise ConfigValueError(f"{key} is {value!r}; it must be a range (least, greatest).")
        _check_range(key, value[0], least, greatest)
        _check_range(key, value[1], least, greatest)


def _check_steps(cfg: CfgNode) -> None:
    steps = cfg.SOLVER.STEPS
    if list(steps) != sorted(steps):
        raise ConfigValueError(f"SOLVER.STEPS is {steps!r}; the iterations must not fall.")


def _check_names(cfg: CfgNode) -> None:
    for key in ("TRAIN", "TEST", "BACKGROUND"):
        names = cfg.DATASETS[key]
        if not all(isinstance(name, str) for name in names):
            raise ConfigValueError(f"DATASETS.{key} is {names!r}; it must hold dataset names.")
