"""The table: every number is there, and no line is wider than a terminal."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest

from cardamage.benchmark.report import Row, Section
from cardamage.benchmark.rounds import Timing
from cardamage.benchmark.table import WIDTH, format_report, format_section

_spec = importlib.util.spec_from_file_location("made", Path(__file__).with_name("test_report.py"))
assert _spec is not None
assert _spec.loader is not None
made: Any = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(made)


def line_of(text: str, start: str) -> str:
    return next(line for line in text.splitlines() if line.strip().startswith(start))


def test_both_numbers_and_their_ratio_are_in_a_row() -> None:
    text = format_section(made.section())
    assert line_of(text, "cardamage ").split() == ["cardamage", "500", "ms", "10.0%", "8", "1", "MiB"]
    assert line_of(text, "Detectron2").split()[1:3] == ["2.00", "s"]
    assert line_of(text, "Detectron2").endswith("4.00 x as fast")
    assert line_of(text, "trunk only").endswith("0.50 x as fast")
    assert text.index("floor") < text.index("trunk only")
    assert "AP 31.0" in text
    assert "doesn't run here: no" in line_of(text, "torchvision")
    assert text.endswith("Equal.")


def test_parts_have_their_share() -> None:
    text = format_section(made.section())
    assert line_of(text, "trunk  ").split() == ["trunk", "300", "ms", "60%"]
    assert line_of(text, "in all").split() == ["in", "all", "500", "ms"]


@pytest.mark.parametrize("sides", [1, 5, 7])
def test_no_line_is_wider_than_a_terminal(sides: int) -> None:
    report = made.report()
    names = [f"a side of some project, float{n}" for n in range(sides)]
    rows = [Row(name, "own", Timing((1234.5,)), 16, memory=2**37, note="long " * 40) for name in names]
    rows.append(Row("another", "peer", None, note="word " * 60))
    parts = {name: {"trunk": 1000.0, "ROI heads": 0.00001, "optimizer": 10.0} for name in names}
    report.sections = [Section("train", "Training", "img", rows, parts, ["words " * 60])]
    report.versions = {f"package{n}": "1.2.3.dev4" for n in range(20)}
    text = format_report(report)
    assert max(map(len, text.splitlines())) <= WIDTH
    for name in names:
        assert text.count(name) >= 1


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(123.4, "123 s"), (12.34, "12.3 s"), (1.234, "1.23 s"), (0.1234, "123 ms"), (0.0001, "100 us")],
)
def test_times_have_three_digits(seconds: float, text: str) -> None:
    rows = [Row("a", "own", Timing((seconds,)), 1)]
    line = line_of(format_section(Section("x", "X", "img", rows)), "a ")
    assert " ".join(line.split()[1:3]) == text
