"""train_net.py in two processes on the CPU, under torchrun."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from cardamage.checkpoint import read_checkpoint


@pytest.fixture(scope="module")
def weights(train_net: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A two-rank training that runs to its end."""
    folder = tmp_path_factory.mktemp("ranks")
    done = train_net.run("OUTPUT_DIR", str(folder), "SOLVER.MAX_ITER", "4", torchrun=2)
    assert done.returncode == 0, done.stderr
    return folder


def test_one_process_writes_and_all_evaluate(weights: Path) -> None:
    state = read_checkpoint(weights / "model_final.pth")
    assert len(state["trainer"]["rng"]) == 2
    assert not torch.equal(state["trainer"]["rng"][0]["torch"], state["trainer"]["rng"][1]["torch"])
    lines = [json.loads(line) for line in (weights / "metrics.json").read_text().splitlines()]
    assert [line["iteration"] for line in lines] == [0, 1, 2, 3, 4]
    assert "segm/AP" in lines[-1]


def test_evaluation_on_two_ranks_equals_one(train_net: Any, weights: Path, tmp_path: Path) -> None:
    results = []
    for ranks in (0, 2):
        folder = tmp_path / str(ranks)
        keys = ["MODEL.WEIGHTS", str(weights / "model_final.pth"), "OUTPUT_DIR", str(folder)]
        done = train_net.run("--eval-only", *keys, torchrun=ranks)
        assert done.returncode == 0, done.stderr
        found = json.loads((folder / "inference/coco_instances_results.json").read_text())
        results.append(sorted(found, key=lambda item: (item["image_id"], -item["score"], item["bbox"])))
    assert results[0] == results[1]
    assert results[0]


def ranks_of(process: subprocess.Popen[str]) -> list[int]:
    """The training processes that torchrun started."""
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    return [int(child) for child in children]


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="reads the processes from /proc")
def test_dead_rank_ends_the_job_with_a_sentence(train_net: Any, tmp_path: Path) -> None:
    process = train_net.start("OUTPUT_DIR", str(tmp_path), "SOLVER.MAX_ITER", "100000", torchrun=2)
    metrics = tmp_path / "metrics.json"
    end = time.monotonic() + 120
    while not metrics.exists() and time.monotonic() < end:
        time.sleep(0.05)
    os.kill(ranks_of(process)[1], signal.SIGKILL)
    _, errors = process.communicate(timeout=120)
    assert process.returncode != 0
    assert re.search(r"error: Rank 0 lost another rank of the job .*go on with --resume\.", errors), errors


def test_sigterm_stops_all_ranks_at_one_checkpoint(train_net: Any, tmp_path: Path) -> None:
    keys = ["OUTPUT_DIR", str(tmp_path), "SOLVER.MAX_ITER", "100000", "TEST.EVAL_PERIOD", "0"]
    process = train_net.start(*keys, "SOLVER.CHECKPOINT_PERIOD", "100000", torchrun=2)
    end = time.monotonic() + 120
    while not (tmp_path / "metrics.json").exists() and time.monotonic() < end:
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=120)
    state = read_checkpoint(tmp_path / (tmp_path / "last_checkpoint").read_text())
    assert state["iteration"] == state["trainer"]["iteration"]
    assert len(state["trainer"]["rng"]) == 2
