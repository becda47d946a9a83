from __future__ import annotations

from typing import Any

import pytest

from cardamage.config import get_cfg, validate_cfg
from cardamage.errors import ConfigValueError

BOX = "MODEL.ROI_BOX_HEAD."


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (
            {"CLASS_LOSS": "focus"},
            "CLASS_LOSS is 'focus'; it must be one of 'cross_entropy', 'focal', 'quality_focal', 'seesaw', "
            "'equalization'",
        ),
        (
            {"CLASS_WEIGHTS": "rare"},
            "CLASS_WEIGHTS is 'rare'; it must be one of 'none', 'inverse', 'effective'.",
        ),
        ({"LABEL_SMOOTHING": 1.0}, "LABEL_SMOOTHING is 1.0; it must be at least 0 and below 1."),
        ({"LABEL_SMOOTHING": -0.1}, "LABEL_SMOOTHING is -0.1; it must be at least 0 and below 1."),
        ({"CLASS_WEIGHTS_BETA": 1.0}, "CLASS_WEIGHTS_BETA is 1.0; it must be at least 0 and below 1."),
        ({"PRIOR_PROB": 0.0}, "PRIOR_PROB is 0.0; it must be above 0 and below 1."),
        ({"FOCAL_LOSS_GAMMA": -1.0}, "FOCAL_LOSS_GAMMA is -1.0; it must be at least 0."),
        ({"FOCAL_LOSS_ALPHA": 1.5}, "FOCAL_LOSS_ALPHA is 1.5; it must be between -1 and 1."),
        (
            {"LABEL_SMOOTHING": 0.1, "CLASS_LOSS": "focal"},
            "LABEL_SMOOTHING is 0.1, which CLASS_LOSS 'focal' doesn't know: set it to 0, or CLASS_LOSS to "
            "'cross_entropy'.",
        ),
        ({"BBOX_REG_BINS": 1}, "BBOX_REG_BINS is 1; it must be 0, or at least 2."),
        ({"SEESAW_P": -0.5}, "SEESAW_P is -0.5; it must be at least 0."),
        (
            {"CLASS_LOSS": "equalization", "CLASS_WEIGHTS": "effective"},
            "CLASS_WEIGHTS is 'effective', but CLASS_LOSS 'equalization' weighs rare classes itself: set it "
            "to 'none'.",
        ),
        (
            {"CLASS_LOSS": "seesaw", "USE_SIGMOID_CE": True},
            "USE_SIGMOID_CE is True, but CLASS_LOSS 'seesaw' scores classes against each other: set it "
            "False.",
        ),
        (
            {"USE_FED_LOSS": True, "CLASS_WEIGHTS": "inverse"},
            "USE_FED_LOSS is True, which goes with CLASS_LOSS 'cross_entropy', LABEL_SMOOTHING 0 and "
            "CLASS_WEIGHTS 'none' only: leave these as they are, or set it False.",
        ),
    ],
)
def test_what_can_not_work_is_refused(options: dict[str, Any], sentence: str) -> None:
    cfg = get_cfg()
    for name, value in options.items():
        cfg.MODEL.ROI_BOX_HEAD[name] = value
    with pytest.raises(ConfigValueError) as caught:
        validate_cfg(cfg)
    assert str(caught.value).startswith(BOX + sentence)
    assert str(caught.value).count(". ") == 0


def test_bounds_are_allowed() -> None:
    cfg = get_cfg()
    node = cfg.MODEL.ROI_BOX_HEAD
    node.CLASS_LOSS, node.FOCAL_LOSS_ALPHA, node.FOCAL_LOSS_GAMMA, node.CLASS_WEIGHTS_BETA = (
        "focal",
        -1.0,
        0.0,
        0.0,
    )
    validate_cfg(cfg)


def test_mask_losses() -> None:
    cfg = get_cfg()
    cfg.MODEL.ROI_MASK_HEAD.LOSS = "dicy"
    with pytest.raises(ConfigValueError, match="LOSS is 'dicy'; it must be one of 'bce', 'dice', 'bce_dice'"):
        validate_cfg(cfg)
    cfg.MODEL.ROI_MASK_HEAD.LOSS, cfg.MODEL.ROI_MASK_HEAD.BOUNDARY_WEIGHT = "dice", -1.0
    with pytest.raises(ConfigValueError, match="BOUNDARY_WEIGHT is -1.0; it must be at least 0"):
        validate_cfg(cfg)
