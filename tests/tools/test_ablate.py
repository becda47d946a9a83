"""The ablations' list is one that the config understands, and their table tells what the runs left."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cardamage.config import get_cfg, validate_cfg

ROOT = Path(__file__).parents[2]
EXPERIMENTS = ROOT / "docs" / "experiments"


@pytest.fixture
def ablate(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.syspath_prepend(str(EXPERIMENTS))
    import ablate  # type: ignore[import-not-found]

    yield ablate
    for name in ("ablate", "experiment_runs"):
        sys.modules.pop(name, None)


def test_every_row_is_of_keys_that_exist(ablate: Any) -> None:
    rows = ablate.read_rows(EXPERIMENTS / "ablations.yaml")
    assert len({(row.part, row.name) for row in rows}) == len(rows)
    for row in rows:
        for config in ablate.CONFIGS.values():
            cfg = get_cfg()
            cfg.merge_from_file(str(ROOT / config))
            cfg.merge_from_list([*rows[0].opts, *row.opts])
            validate_cfg(cfg)


def test_figures_are_those_of_the_last_evaluation(ablate: Any, tmp_path: Path) -> None:
    log = [
        "[01/02 03:04:05 x]: copypaste: Task: bbox\n[..]: copypaste: AP,AP50\n[..]: copypaste: 1.5,nan\n",
        "[..]: iter: 19\n[..]: copypaste: Task: segm\n[..]: copypaste: AP,AP50\n[..]: copypaste: 2.5,3.5\n",
        "[..]: copypaste: Task: segm\n[..]: copypaste: AP,AP50\n[..]: copypaste: 4.5,5.5\n",
    ]
    (tmp_path / "log.txt").write_text("".join(log))
    found = sys.modules["experiment_runs"].last_figures(tmp_path)
    assert found["bbox/AP"] == 1.5
    assert (found["segm/AP"], found["segm/AP50"]) == (4.5, 5.5)
    assert sys.modules["experiment_runs"].last_figures(tmp_path / "none") == {}


def test_the_table_has_differences_and_the_noise(ablate: Any, tmp_path: Path) -> None:
    args = ablate.parse_args(["--output", str(tmp_path), "--seeds", "7", "8", "9"])
    base, other, absent = (
        ablate.Row("base", "b", [], False),
        ablate.Row("loss", "a/b", ["KEY", "[[1], [2]]"], True),
        ablate.Row("loss", "not run", [], False),
    )
    for row, seed, score in ((base, 7, 10.0), (base, 8, 12.0), (base, 9, 14.0), (other, 7, 11.25)):
        folder = ablate.folder_of(args, row, seed)
        folder.mkdir()
        (folder / "figures.json").write_text(json.dumps({name: score for name in ablate.COLUMNS}))
    lines = ablate.as_table(args, [base, other, absent]).splitlines()
    assert [line.count("|") for line in lines[:4]] == [9, 9, 9, 9]
    assert "| 11.25 | +1.25 |" in lines[3]
    assert "`KEY '[[1], [2]]'` (test only)" in lines[3]
    assert lines[-1].endswith("10.00, 12.00, 14.00; mean 12.00, standard deviation 2.00.")
    assert not any("not run" in line for line in lines)
