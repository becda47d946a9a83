"""The report's numbers and its JSON."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cardamage.benchmark.report import FORMAT, Report, Row, Section, write_json
from cardamage.benchmark.rounds import Timing


def section() -> Section:
    rows = [
        Row("cardamage", "own", Timing((0.5, 0.4, 0.6)), 4, memory=2**20, values={"AP": 31.0}),
        Row("Detectron2", "peer", Timing((2.0, 2.0, 2.0)), 4),
        Row("torchvision", "peer", None, note="doesn't run here: no"),
        Row("trunk only", "floor", Timing((0.25,)), 4),
    ]
    return Section(
        "train", "Training step", "img", rows, {"cardamage": {"trunk": 0.3, "rest": 0.2}}, ["Equal."]
    )


def report() -> Report:
    machine = {
        "cpu": "Some CPU",
        "cores": 2,
        "threads": 2,
        "isa": ["avx2"],
        "bfloat16": False,
        "gpu": None,
        "gpu_memory": None,
        "platform": "Linux",
    }
    settings = {"photos": "4 of car parts", "rounds": "3"}
    return Report("2026-01-01T00:00:00+00:00", ["train"], machine, {"torch": "2.9"}, settings, [section()])


def test_rates_and_ratios_follow_from_the_medians() -> None:
    made = section()
    assert [row.rate for row in made.rows] == [8.0, 2.0, None, 16.0]
    assert [made.ratio(row) for row in made.rows] == [None, 4.0, None, 0.5]


def test_all_figures_are_in_the_json_file(tmp_path: Path) -> None:
    path = tmp_path / "new" / "figures.json"
    write_json(report(), path)
    read = json.loads(path.read_text())
    assert read["format"] == FORMAT
    keys = {"format", "created", "command", "machine", "versions", "settings", "sections"}
    assert read.keys() == keys
    (only,) = read["sections"]
    assert only.keys() == {"key", "title", "item", "rows", "parts", "checks"}
    row = {"side", "role", "seconds", "median", "spread", "rate", "memory", "note", "values", "ratio"}
    assert all(entry.keys() == row for entry in only["rows"])
    first, second, third, _ = only["rows"]
    assert first["seconds"] == [0.5, 0.4, 0.6]
    assert first["median"] == 0.5
    assert first["memory"] == 2**20
    assert first["spread"] == pytest.approx(0.1)
    assert second["ratio"] == 4.0
    assert (third["seconds"], third["median"], third["ratio"]) == ([], None, None)
    assert only["parts"] == {"cardamage": {"trunk": 0.3, "rest": 0.2}}
