"""Printing, flattening and checking results."""

from __future__ import annotations

import logging
import math

import pytest

from cardamage.config import get_cfg
from cardamage.errors import EvaluationError
from cardamage.evaluation import flatten_results_dict, print_csv_format, verify_results

RESULTS = {"segm": {"AP": 31.23456, "AP50": math.nan, "AP-dent": 1.0}}


def test_csv(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        print_csv_format({**RESULTS, "images": 7})
    assert caplog.messages == [
        "copypaste: Task: segm",
        "copypaste: AP,AP50",
        "copypaste: 31.2346,nan",
        "copypaste: images=7",
    ]


def test_flatten() -> None:
    assert flatten_results_dict({"a": {"b": {"c": 1}, "d": 2}, "e": 3}) == {"a/b/c": 1, "a/d": 2, "e": 3}


@pytest.mark.parametrize(
    ("expected", "fault"),
    [
        ([], None),
        ([["segm", "AP", 31.0, 0.3]], None),
        ([["segm", "AP", 31.0, 0.2]], "segm/AP is 31.2346, expected 31.0000 ± 0.2000"),
        ([["segm", "AP50", 50.0, 99.0]], "segm/AP50 is nan, expected"),
        ([["bbox", "AP", 50.0, 99.0]], "bbox/AP is nan, expected"),
    ],
)
def test_verify(expected: list, fault: str | None) -> None:
    cfg = get_cfg()
    cfg.TEST.EXPECTED_RESULTS = expected
    if fault is None:
        assert verify_results(cfg, RESULTS) is True
    else:
        with pytest.raises(EvaluationError, match=fault):
            verify_results(cfg, RESULTS)
