from __future__ import annotations

import pytest

from cardamage.config import get_cfg, validate_cfg
from cardamage.errors import ConfigValueError


def test_defaults_are_valid() -> None:
    validate_cfg(get_cfg())


@pytest.mark.parametrize(
    ("key", "value", "sentence"),
    [
        (
            "MODEL.ROI_HEADS.NMS_TYPE",
            "soft_gauss",
            "MODEL.ROI_HEADS.NMS_TYPE is 'soft_gauss'; it must be one of 'hard', 'soft_linear', "
            "'soft_gaussian', 'diou', 'cluster', 'cluster_score', 'fast', 'matrix_linear', "
            "'matrix_gaussian', 'mask'; did you mean soft_gaussian?",
        ),
        (
            "SOLVER.AMP.DTYPE",
            "int8",
            "SOLVER.AMP.DTYPE is 'int8'; it must be one of 'auto', 'float16', 'bfloat16'.",
        ),
        (
            "MODEL.RESNETS.DEPTH",
            "26",
            "MODEL.RESNETS.DEPTH is 26; it must be one of 18, 34, 50, 101, 152.",
        ),
        ("MODEL.DEVICE", "gpu", "MODEL.DEVICE is 'gpu'; it must be cpu, cuda, or cuda:N of GPU N."),
        (
            "MODEL.RESNETS.NORM",
            "FrozenBn",
            "MODEL.RESNETS.NORM is 'FrozenBn'; it must be one of '', 'BN', 'SyncBN', 'nnSyncBN', 'FrozenBN', "
            "'GN', 'LN'; did you mean FrozenBN?",
        ),
        ("SOLVER.IMS_PER_BATCH", "0", "SOLVER.IMS_PER_BATCH is 0; it must be at least 1."),
        (
            "MODEL.ROI_HEADS.NMS_THRESH_TEST",
            "1.5",
            "MODEL.ROI_HEADS.NMS_THRESH_TEST is 1.5; it must be between 0 and 1.",
        ),
        (
            "MODEL.ROI_HEADS.SOFT_NMS_SIGMA",
            "0",
            "MODEL.ROI_HEADS.SOFT_NMS_SIGMA is 0.0; it must be above 0.",
        ),
        ("INPUT.MIN_SIZE_TRAIN", "()", "INPUT.MIN_SIZE_TRAIN is (); it must hold sizes in pixels."),
        (
            "MODEL.PIXEL_STD",
            "[1.0]",
            "MODEL.PIXEL_MEAN has 3 values and MODEL.PIXEL_STD has 1; both must have one for each channel.",
        ),
        (
            "MODEL.PIXEL_STD",
            "[1.0, 0.0, 1.0]",
            "MODEL.PIXEL_STD is [1.0, 0.0, 1.0]; every value must be above 0.",
        ),
        ("SOLVER.STEPS", "(8, 5)", "SOLVER.STEPS is (8, 5); the iterations must not fall."),
        ("DATASETS.TEST", "(5,)", "DATASETS.TEST is (5,); it must hold dataset names."),
    ],
)
def test_values_that_cannot_work(key: str, value: str, sentence: str) -> None:
    cfg = get_cfg()
    cfg.merge_from_list([key, value])
    with pytest.raises(ConfigValueError) as caught:
        validate_cfg(cfg)
    assert str(caught.value) == sentence


def test_range_sampling_needs_two_sizes() -> None:
    cfg = get_cfg()
    cfg.INPUT.MIN_SIZE_TRAIN_SAMPLING = "range"
    with pytest.raises(ConfigValueError, match="with MIN_SIZE_TRAIN_SAMPLING 'range' it must hold two sizes"):
        validate_cfg(cfg)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("BRIGHTNESS", (1.2, 0.8), "BRIGHTNESS is .*range"),
        ("CONTRAST", (1.0,), "CONTRAST is .*range"),
        ("SATURATION", (-0.5, 1.0), "SATURATION is -0.5; it must be at least 0"),
        ("SATURATION", (0.5, float("inf")), "SATURATION is .*range"),
        ("BRIGHTNESS", (float("nan"), 1.0), "BRIGHTNESS is .*range"),
        ("BRIGHTNESS", 1.2, "BRIGHTNESS is 1.2; it must be a range"),
        ("CONTRAST", ("a", "b"), "CONTRAST is .*range"),
        ("HUE", (-0.1, 0.6), "HUE is 0.6; it must be between -0.5 and 0.5"),
        ("PROBABILITY", "often", "PROBABILITY is 'often'; it must be between 0 and 1"),
        ("PROBABILITY", float("nan"), "PROBABILITY is nan"),
        ("PROBABILITY", 1.5, "PROBABILITY is 1.5"),
    ],
)
def test_color_ranges(name: str, value: object, message: str) -> None:
    cfg = get_cfg()
    cfg.INPUT.COLOR[name] = value
    with pytest.raises(ConfigValueError, match=message):
        validate_cfg(cfg)


@pytest.mark.parametrize(
    ("key", "value", "sentence"),
    [
        ("TEST.PRECISION", None, "TEST.PRECISION is None; it must be one of 'auto', 'float32'"),
        ("TEST.FUSE", "yes", "TEST.FUSE is 'yes'; it must be one of True, False."),
        ("TEST.WINOGRAD", "no", "TEST.WINOGRAD is 'no'; it must be one of True, False."),
        ("TEST.IMS_PER_BATCH", "4", "TEST.IMS_PER_BATCH is '4'; it must be at least 1."),
        ("INPUT.SCALED_DECODE", 3, "INPUT.SCALED_DECODE is 3; it must be one of True, False."),
        ("DATALOADER.PIN_MEMORY", "gpu", "DATALOADER.PIN_MEMORY is 'gpu'"),
        ("DATALOADER.PREFETCH_DEVICE", None, "DATALOADER.PREFETCH_DEVICE is None"),
        ("MODEL.RPN.SAMPLED_GRADIENT", "x", "MODEL.RPN.SAMPLED_GRADIENT is 'x'"),
        ("MODEL.COMPILE", "maybe", "MODEL.COMPILE is 'maybe'; it must be one of True, False, 'auto'."),
        ("MODEL.CHANNELS_LAST", "aut", "False, 'auto'; did you mean auto?"),
        ("SOLVER.FUSED", 7, "SOLVER.FUSED is 7; it must be one of True, False, 'auto'."),
        ("SOLVER.BASE_LR", float("inf"), "SOLVER.BASE_LR is inf"),
    ],
)
def test_values_of_a_script_are_checked_like_those_of_a_file(key: str, value: object, sentence: str) -> None:
    cfg = get_cfg()
    *parents, name = key.split(".")
    node = cfg
    for parent in parents:
        node = node[parent]
    node[name] = value
    with pytest.raises(ConfigValueError) as caught:
        validate_cfg(cfg)
    assert sentence in str(caught.value)
