"""train_net.py in two processes on the CPU, under torchrun."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from cardamage.checkpoint import read_checkpoint

# Nothing is drawn at random in these: all anchors and proposals are sampled, and no photo is changed.
SAME = [
    "MODEL.RESNETS.NORM",
    "GN",
    "INPUT.RANDOM_FLIP",
    "none",
    "SOLVER.MAX_ITER",
    "4",
    "SOLVER.STEPS",
    "(2,)",
]
SAME += ["MODEL.RPN.BATCH_SIZE_PER_IMAGE", "8192", "MODEL.ROI_HEADS.BATCH_SIZE_PER_IMAGE", "512"]
SAME += ["TEST.EVAL_PERIOD", "2"]


@pytest.fixture(scope="module")
def one_photo(train_net: Any, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The dataset of the first photo alone."""
    source, _, root = train_net.options[1].removeprefix("('coco:").removesuffix("',)").partition("@")
    content = json.loads(Path(source).read_text())
    content["images"] = [image for image in content["images"] if image["id"] == 0]
    content["annotations"] = [note for note in content["annotations"] if note["image_id"] == 0]
    path = tmp_path_factory.mktemp("one") / "one.json"
    path.write_text(json.dumps(content))
    return f"('coco:{path}@{root}',)"


@pytest.fixture(scope="module")
def same_training(train_net: Any, one_photo: str, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The folders of one training in one process and in two, each of which sees the same photo."""
    folders = []
    for ranks in (1, 2):
        folders.append(tmp_path_factory.mktemp(f"same{ranks}"))
        keys = ["DATASETS.TRAIN", one_photo, "SOLVER.IMS_PER_BATCH", str(ranks)]
        done = train_net.run(
            *train_net.thin, *SAME, *keys, "OUTPUT_DIR", str(folders[-1]), torchrun=ranks if ranks > 1 else 0
        )
        assert done.returncode == 0, done.stderr
    return folders


def test_one_process_writes_and_all_evaluate(same_training: list[Path]) -> None:
    state = read_checkpoint(same_training[1] / "model_final.pth")
    assert len(state["trainer"]["rng"]) == 2
    assert not torch.equal(state["trainer"]["rng"][0]["torch"], state["trainer"]["rng"][1]["torch"])
    lines = [json.loads(line) for line in (same_training[1] / "metrics.json").read_text().splitlines()]
    assert [line["iteration"] for line in lines] == [0, 1, 2, 3, 4]
    assert "segm/AP" in lines[-1]


def test_evaluation_on_two_ranks_equals_one(
    train_net: Any, same_training: list[Path], tmp_path: Path
) -> None:
    keys = [*train_net.thin, *SAME, "MODEL.WEIGHTS", str(same_training[0] / "model_final.pth")]
    done = train_net.run("--eval-only", *keys, "OUTPUT_DIR", str(tmp_path), torchrun=2)
    assert done.returncode == 0, done.stderr
    results = []
    # The one process evaluated these weights when its training was over.
    for folder in (same_training[0], tmp_path):
        found = json.loads((folder / "inference/coco_instances_results.json").read_text())
        results.append(sorted(found, key=lambda item: (item["image_id"], -item["score"], item["bbox"])))
    assert results[0] == results[1]
    assert results[0]


@pytest.mark.parametrize("name", ["model_0000003.pth", "model_final.pth", "model_best.pth"])
def test_checkpoint_of_two_ranks_equals_one(same_training: list[Path], name: str) -> None:
    one, two = (read_checkpoint(folder / name) for folder in same_training)
    assert one.keys() == two.keys()
    assert one["iteration"] == two["iteration"]
    assert one["cardamage"] == two["cardamage"]
    assert one["cardamage"]["thing_classes"] == ["dent", "scratch"]
    assert one["scheduler"] == two["scheduler"]
    assert one["trainer"].keys() == two["trainer"].keys()
    assert one["trainer"]["iteration"] == two["trainer"]["iteration"]
    torch.testing.assert_close(two["model"], one["model"], rtol=1e-5, atol=5e-6)
    torch.testing.assert_close(two["optimizer"], one["optimizer"], rtol=1e-5, atol=5e-6)


def test_metrics_and_evaluation_of_two_ranks_equal_one(
    same_training: list[Path], metrics_of: Callable[[Path], list[str]]
) -> None:
    one, two = ([json.loads(line) for line in metrics_of(folder)] for folder in same_training)
    assert len(one) == len(two) == 5
    assert "segm/AP" in one[1]
    assert "segm/AP" in one[-1]
    for ours, theirs in zip(one, two, strict=True):
        assert ours == pytest.approx(theirs, rel=1e-5, abs=1e-6, nan_ok=True)
    found = []
    for folder in same_training:
        items = json.loads((folder / "inference/coco_instances_results.json").read_text())
        found.append(sorted(items, key=lambda item: (item["image_id"], -item["score"], item["bbox"])))
    assert {item["image_id"] for item in found[0]} == {0, 1, 2}
    assert len(found[0]) == len(found[1])
    for ours, theirs in zip(*found, strict=True):
        assert ours["category_id"] == theirs["category_id"]
        assert ours["score"] == pytest.approx(theirs["score"], rel=1e-5)
        assert ours["bbox"] == pytest.approx(theirs["bbox"], rel=1e-4, abs=1e-3)


def ranks_of(process: subprocess.Popen[str]) -> list[int]:
    """The training processes that torchrun started."""
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    return [int(child) for child in children]


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="reads the processes from /proc")
def test_dead_rank_ends_the_job_with_a_sentence(train_net: Any, tmp_path: Path) -> None:
    keys = [*train_net.thin, "OUTPUT_DIR", str(tmp_path), "SOLVER.MAX_ITER", "100000"]
    process = train_net.start(*keys, torchrun=2)
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
    process = train_net.start(*train_net.thin, *keys, "SOLVER.CHECKPOINT_PERIOD", "100000", torchrun=2)
    end = time.monotonic() + 120
    while not (tmp_path / "metrics.json").exists() and time.monotonic() < end:
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=120)
    state = read_checkpoint(tmp_path / (tmp_path / "last_checkpoint").read_text())
    assert state["iteration"] == state["trainer"]["iteration"]
    assert len(state["trainer"]["rng"]) == 2
