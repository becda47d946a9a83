"""train_net.py with TEST.AUG.ENABLED: a training, and an evaluation of what it wrote."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

VIEWS = [
    *("TEST.AUG.ENABLED", "True", "TEST.AUG.MIN_SIZES", "(64, 80)", "TEST.AUG.MAX_SIZE", "120"),
    *("TEST.EXPECTED_RESULTS", "[['bbox_TTA', 'AP', 50.0, 50.0], ['segm', 'AP', 50.0, 50.0]]"),
    *("TEST.BEST_CHECKPOINT.ENABLED", "False"),
]


def _results(folder: Path, name: str) -> Any:
    return json.loads((folder / name / "coco_instances_results.json").read_text())


def test_views_are_evaluated_after_a_training_and_by_themselves(
    train_net: Any, train_here: Any, tmp_path: Path
) -> None:
    trained, tested = tmp_path / "trained", tmp_path / "tested"
    keys = ["SOLVER.EMA.ENABLED", "True", "SOLVER.EMA.DECAY", "0.5", "SOLVER.MAX_ITER", "3"]
    done = train_here(*train_net.thin, *VIEWS, *keys, "OUTPUT_DIR", str(trained))
    assert done.returncode == 0, done.stderr
    last = json.loads((trained / "metrics.json").read_text().splitlines()[-1])
    assert {"bbox/AP", "segm/AP", "bbox_TTA/AP", "segm_TTA/AP"} <= set(last)
    assert _results(trained, "inference") != _results(trained, "inference_TTA")

    weights = ["MODEL.WEIGHTS", str(trained / "model_final.pth"), "OUTPUT_DIR", str(tested)]
    done = train_here("--eval-only", *train_net.thin, *VIEWS, *weights)
    assert done.returncode == 0, done.stderr
    assert "All 2 values of TEST.EXPECTED_RESULTS are reached." in (tested / "log.txt").read_text()
    # Both times the averaged weights.
    assert _results(tested, "inference_TTA") == _results(trained, "inference_TTA")
