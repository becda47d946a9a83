"""A model loaded by its config and weights, as the commands load it."""

from __future__ import annotations

from typing import Any

import pytest

from cardamage.engine.arguments import add_overrides, check_prediction_limits, trained_model_parser
from cardamage.engine.trained_model import load_predictor
from cardamage.errors import ConfigValueError


def test_what_is_asked_for_is_in_the_config(tiny_model: Any) -> None:
    words = [*tiny_model.arguments, "--opts", "MODEL.ROI_HEADS.SCORE_THRESH_TEST", "0.9"]
    parser = trained_model_parser("Does it.")
    add_overrides(parser)
    args = parser.parse_args(words)
    predictor = load_predictor(args.config_file, args.weights, args.opts, threshold=0.3, exact=True)
    assert predictor.cfg.MODEL.ROI_HEADS.SCORE_THRESH_TEST == 0.3
    assert predictor.cfg.TEST.PRECISION == "float32"
    assert predictor.model.mask_output == "rle"
    kept = load_predictor(args.config_file, args.weights, args.opts)
    assert kept.cfg.MODEL.ROI_HEADS.SCORE_THRESH_TEST == 0.9


@pytest.mark.parametrize(
    ("limits", "said"),
    [
        ((-0.1, 1), "--threshold is a score from 0 to 1, not -0.1."),
        ((float("nan"), 1), "--threshold is a score from 0 to 1, not nan."),
        ((0.5, 0), "--batch-size must be 1 or more, not 0."),
    ],
)
def test_limits_that_can_not_be(limits: tuple[float, int], said: str) -> None:
    with pytest.raises(ConfigValueError) as caught:
        check_prediction_limits(*limits)
    assert str(caught.value) == said
    check_prediction_limits(0, 1)
