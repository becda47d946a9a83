"""The last step of the demo: its table and its sentences; the demo itself makes the pictures."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from cardamage.errors import DataError


@pytest.fixture(scope="module")
def tool(load_tool: Callable[[str], ModuleType]) -> ModuleType:
    return load_tool("demo")


def write_metrics(folder: Path, *records: dict[str, float]) -> None:
    (folder / "metrics.json").write_text("".join(json.dumps(r) + "\n" for r in records), encoding="utf-8")


def test_the_table_shows_the_last_evaluation(tool: ModuleType, tmp_path: Path) -> None:
    write_metrics(
        tmp_path,
        {"iteration": 1, "segm/AP": 1.0, "segm/AP50": 2.0},
        {"iteration": 2, "segm/AP": 31.25, "segm/AP50": 52.0, "segm/APl": float("nan"), "segm/AP-dent": 40.0},
        {"iteration": 3, "total_loss": 0.5},
    )
    rows = {line.split("  ")[0]: line.split() for line in tool.ap_table(tmp_path).splitlines()}
    assert rows["segm"][1:] == ["31.2", "52.0", "-", "-", "-", "-"]
    assert rows["segm dent"][:3] == ["segm", "dent", "40.0"]
    assert rows["bbox"][1:] == ["-"] * 6


def test_a_folder_without_a_run_is_named(tool: ModuleType, tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        tool.main(["--output", str(tmp_path)])
    expected = f"{tmp_path / 'metrics.json'} does not exist; train first, with OUTPUT_DIR {tmp_path}."
    assert str(caught.value) == expected


def test_a_run_without_evaluation_is_named(tool: ModuleType, tmp_path: Path) -> None:
    write_metrics(tmp_path, {"iteration": 3, "total_loss": 0.5})
    with pytest.raises(DataError, match="holds no evaluation of masks; let the training finish."):
        tool.main(["--output", str(tmp_path)])
