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
            "'soft_gaussian'; did you mean soft_gaussian?",
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
        ("HUE", (-0.1, 0.6), "HUE is 0.6; it must be between -0.5 and 0.5"),
        ("PROBABILITY", 1.5, "PROBABILITY is 1.5"),
    ],
)
def test_color_ranges(name: str, value: object, message: str) -> None:
    cfg = get_cfg()
    cfg.INPUT.COLOR[name] = value
    with pytest.raises(ConfigValueError, match=message):
        validate_cfg(cfg)
