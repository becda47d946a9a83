"""train_net.py and anchors: the warning before a training, and the proposals' recall of a trained model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

PROPOSALS = [
    *("MODEL.META_ARCHITECTURE", "ProposalNetwork"),
    *("MODEL.RPN.PRE_NMS_TOPK_TEST", "1000", "MODEL.RPN.POST_NMS_TOPK_TEST", "1000"),
]


def test_far_anchors_are_told_of_and_recall_is_had_by_one_command(
    train_net: Any, train_here: Any, tmp_path: Path
) -> None:
    trained, tested = tmp_path / "trained", tmp_path / "tested"
    far = ["MODEL.ANCHOR_GENERATOR.SIZES", "[[700], [710], [720], [730], [740]]"]
    keys = [*train_net.thin, "SOLVER.MAX_ITER", "1", "TEST.EVAL_PERIOD", "0", *far]
    done = train_here(*keys, "DATASETS.TEST", "()", "OUTPUT_DIR", str(trained))
    assert done.returncode == 0, done.stderr
    log = (trained / "log.txt").read_text()
    assert log.count("best possible recall is") == 1
    assert f"python tools/tune_anchors.py --config-file {trained / 'config.yaml'}" in log

    weights = ["MODEL.WEIGHTS", str(trained / "model_final.pth"), "OUTPUT_DIR", str(tested)]
    done = train_here("--eval-only", *train_net.thin, *PROPOSALS, *weights)
    assert done.returncode == 0, done.stderr
    assert "AR@100,ARs@100,ARm@100,ARl@100,AR@1000,ARs@1000,ARm@1000,ARl@1000" in done.stdout + done.stderr
    assert "best possible recall" not in (tested / "log.txt").read_text()
