"""The command of the dataset doctor: what it prints and writes, and how it ends."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import cv2
import numpy as np
import pytest

from cardamage.data.doctor import all_checks
from cardamage.errors import ConfigValueError, DataError, TrainingError


@pytest.fixture(scope="module")
def tool(load_tool: Callable[[str], ModuleType]) -> ModuleType:
    return load_tool("check_dataset")


@pytest.fixture
def labels(tmp_path: Path) -> Path:
    """Two Labelme files of 12 dents, the last of the first a line."""
    folder = tmp_path / "set"
    folder.mkdir()
    for number in range(2):
        small = np.random.default_rng(number).integers(0, 256, (9, 12, 3), dtype=np.uint8)
        cv2.imwrite(str(folder / f"{number}.jpg"), cv2.resize(small, (160, 120)))
        shapes = [
            {
                "label": "dent",
                "points": [[10 * i, 9], [10 * i + 8, 10], [10 * i, 50]],
                "shape_type": "polygon",
            }
            for i in range(6)
        ]
        content = {"shapes": shapes, "imagePath": f"{number}.jpg", "imageHeight": 120, "imageWidth": 160}
        (folder / f"{number}.json").write_text(json.dumps(content))
    return folder


def spoil(labels: Path) -> None:
    content = json.loads((labels / "0.json").read_text())
    content["shapes"][5]["points"] = [[1, 1], [5, 5]]
    content["shapes"][4]["points"][0] = [90, -7]
    (labels / "0.json").write_text(json.dumps(content))


def test_a_clean_set(tool: ModuleType, labels: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert tool.main([str(labels)]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith(f"{labels}: labelme, 2 images, 12 objects, 1 class\n")
    assert printed.endswith("Nothing found.\n")


def test_what_is_found_is_printed_and_written(
    tool: ModuleType, labels: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spoil(labels)
    target = tmp_path / "out" / "found.json"
    assert tool.main([str(labels), "--json", str(target), "--plot", str(tmp_path / "plots")]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert "error   D201    1  Polygon of fewer than 3 points" in lines
    assert "                   0.json #5: dent: 2 points" in lines
    assert "                   0.json #4: dent: by 7.0 px" in lines
    assert "1 error, 1 warning, 0 notes (kinds of findings), 2 cases." in lines
    assert max(map(len, lines)) <= 200
    found = json.loads(target.read_text())
    assert found["summary"] == {"errors": 1, "warnings": 1, "notes": 0}
    assert [(f["code"], f["count"]) for f in found["findings"]] == [("D201", 1), ("D203", 1)]
    assert found["findings"][0]["cases"] == [
        {"file": str(labels / "0.json"), "index": 5, "text": "dent: 2 points", "others": []}
    ]
    assert found["overview"]["classes"]["dent"]["objects"] == {"": 12}
    plot = cv2.imread(str(tmp_path / "plots" / "dataset.png"))
    assert plot is not None
    assert plot.std() > 10


def test_warnings_fail_where_asked_for(tool: ModuleType, labels: Path) -> None:
    spoil(labels)
    content = json.loads((labels / "0.json").read_text())
    del content["shapes"][5]
    (labels / "0.json").write_text(json.dumps(content))
    assert tool.main([str(labels)]) == 0
    assert tool.main([str(labels), "--strict"]) == 1


def test_bad_arguments_are_sentences(tool: ModuleType, labels: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="does not exist"):
        tool.main([str(tmp_path / "none")])
    with pytest.raises(DataError, match="did you mean labelme"):
        tool.main([str(labels), "--from", "labelmee"])
    with pytest.raises(ConfigValueError, match="--shown"):
        tool.main([str(labels), "--shown", "-1"])
    (tmp_path / "file").write_text("")
    with pytest.raises(TrainingError, match="can't be written"):
        tool.main([str(labels), "--json", str(tmp_path / "file" / "x.json")])


def test_the_table_of_codes_is_that_of_the_checks() -> None:
    text = (Path(__file__).resolve().parents[2] / "docs" / "check-dataset.md").read_text(encoding="utf-8")
    rows = [line for line in text.splitlines() if line.startswith("| D")]
    expected = [
        f"| {check.code} | {check.severity} | {check.title} | {check.advice} | {check.fix} |"
        for check in all_checks()
    ]
    assert rows == expected
