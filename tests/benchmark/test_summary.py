"""The summary: each project's fastest row counts."""

from __future__ import annotations

import pytest

from cardamage.benchmark.report import Row, Section
from cardamage.benchmark.rounds import Timing
from cardamage.benchmark.summary import format_summary, ratios


def section(title: str = "Training step") -> Section:
    rows = [
        Row("cardamage", "own", Timing((0.5,))),
        Row("cardamage, plain", "own", Timing((1.0,))),
        Row("Detectron2, float32", "peer", Timing((2.0,))),
        Row("Detectron2, float16 AMP", "peer", Timing((1.5,))),
        Row("torchvision, float32", "peer", Timing((3.0,))),
        Row("broken", "peer", None),
        Row("trunk only", "floor", Timing((0.1,))),
    ]
    return Section("train", title, "img", rows)


def test_the_fastest_setting_of_a_project_counts() -> None:
    assert ratios(section()) == {"Detectron2": 3.0, "torchvision": 6.0}


def test_sections_are_lines_and_projects_columns() -> None:
    other = Section("x", "Evaluation", "", [Row("cardamage", "own", Timing((1.0,)))])
    other.rows.append(Row("pycocotools", "peer", Timing((4.0,))))
    lines = format_summary([section(), other]).splitlines()
    assert lines[0].split()[-3:] == ["Detectron2", "torchvision", "pycocotools"]
    assert lines[2].split() == ["Training", "step", "3.00", "6.00", "-"]
    assert lines[3].split() == ["Evaluation", "-", "-", "4.00"]


def test_nothing_is_said_where_there_is_no_peer() -> None:
    assert format_summary([Section("x", "X", "", [Row("cardamage", "own", Timing((1.0,)))])]) == ""
    assert format_summary([]) == ""


@pytest.mark.parametrize("title", ["Training step, 16 x 3 x 800 x 1216, " + "words " * 20, "w" * 200])
def test_no_line_is_wider_than_a_terminal(title: str) -> None:
    assert max(map(len, format_summary([section(title)]).splitlines())) <= 100
