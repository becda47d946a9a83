"""The AP tables and the sentences that go with them."""

from __future__ import annotations

import math

import pytest

from cardamage.evaluation.coco_tables import class_table, explain, overall_table

FULL = {"AP": 30.0, "AP50": 50.0, "AP75": 31.0, "APs": 1.0, "APm": 2.0, "APl": 3.0}


def test_overall() -> None:
    assert overall_table({"AP": 100 / 3, "APs": math.nan}).splitlines() == [
        "|    AP |   APs |",
        "|------:|------:|",
        "| 33.33 |   nan |",
    ]


@pytest.mark.parametrize(("classes", "lines"), [(1, 3), (12, 14), (13, 9), (18, 11)])
def test_classes(classes: int, lines: int) -> None:
    table = class_table([(f"class-{i}", 10.0 + i, 20.0, i, 0) for i in range(classes)])
    assert len(table.splitlines()) == lines
    assert len({len(line) for line in table.splitlines()}) == 1
    for i in range(classes):
        assert f"class-{i} " in table
        assert f" {10 + i}.00 " in table


@pytest.mark.parametrize(
    ("change", "objects", "detections", "sentence"),
    [
        ({}, 5, 5, None),
        ({}, 0, 5, "AP of masks is nan: the dataset has no annotated object to score against."),
        ({}, 0, 0, "AP of masks is nan: the dataset has no annotated object to score against."),
        ({}, 5, 0, "AP of masks is nan: the model made no prediction."),
        ({"AP": 0.0, "AP50": 0.0}, 5, 7, "AP of masks is 0: none of the 7 predictions covers one of the 5"),
        (
            {"APs": math.nan},
            5,
            5,
            "nan for masks: no annotated object falls under APs (area under 32x32 px).",
        ),
    ],
)
def test_explain(change: dict[str, float], objects: int, detections: int, sentence: str | None) -> None:
    sentences = explain("segm", {**FULL, **change}, objects=objects, detections=detections)
    if sentence is None:
        assert sentences == []
    else:
        assert len(sentences) == 1
        assert sentences[0].startswith(sentence)
