"""Training killed at any moment goes on as if it had never stopped."""

from __future__ import annotations

import random
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from cardamage.checkpoint import read_checkpoint

Metrics = Callable[[Path], list[str]]


def options(folder: Path) -> list[str]:
    return ["OUTPUT_DIR", str(folder)]


def lines(folder: Path) -> int:
    path = folder / "metrics.json"
    return len(path.read_text().splitlines()) if path.exists() else 0


def wait_for_lines(process: subprocess.Popen[str], folder: Path, count: int) -> None:
    end = time.monotonic() + 120
    while lines(folder) < count and process.poll() is None and time.monotonic() < end:
        time.sleep(0.002)


def same_result(one: Path, other: Path, metrics_of: Metrics) -> None:
    assert metrics_of(one) == metrics_of(other)
    first, second = (read_checkpoint(folder / "model_final.pth") for folder in (one, other))
    assert first["iteration"] == second["iteration"] == 11
    for name, value in first["model"].items():
        assert torch.equal(value, second["model"][name]), name
    for kind, hook in (
        ("own_hooks", "BestCheckpointer"),
        ("own_hooks", "EvalHook"),
        ("hooks", "LRScheduler"),
    ):
        assert first["trainer"][kind][hook] == second["trainer"][kind][hook]
    best = [read_checkpoint(folder / "model_best.pth")["iteration"] for folder in (one, other)]
    assert best[0] == best[1]


def test_output_folder_holds_what_it_should(whole: Path) -> None:
    names = {path.name for path in whole.iterdir()}
    expected = {
        "config.yaml",
        "log.txt",
        "metrics.json",
        "last_checkpoint",
        "model_0000003.pth",
        "model_final.pth",
    }
    assert expected <= names
    assert {"model_best.pth", "curves.png", "inference"} <= names
    assert (whole / "inference/coco_instances_results.json").exists()
    assert any(name.startswith("events.") for name in names)
    assert (whole / "last_checkpoint").read_text() == "model_final.pth"
    assert read_checkpoint(whole / "model_final.pth")["cardamage"]["thing_classes"] == ["dent", "scratch"]


def test_killed_twice_at_random_and_resumed(
    train_net: Any, whole: Path, tmp_path: Path, metrics_of: Metrics
) -> None:
    seed = random.randrange(10**6)
    print("seed", seed)
    rng = random.Random(seed)
    for count in (rng.randint(4, 6), rng.randint(8, 12)):
        process = train_net.start("--resume", *options(tmp_path))
        wait_for_lines(process, tmp_path, count)
        time.sleep(rng.random() * 0.4)
        process.send_signal(signal.SIGKILL)
        process.wait()
        for file in tmp_path.glob("*.pth"):
            read_checkpoint(file)
    done = train_net.run("--resume", *options(tmp_path))
    assert done.returncode == 0, done.stderr
    same_result(whole, tmp_path, metrics_of)


def test_sigterm_saves_and_leaves_then_resumes(
    train_net: Any, whole: Path, tmp_path: Path, metrics_of: Metrics
) -> None:
    process = train_net.start(*options(tmp_path))
    wait_for_lines(process, tmp_path, 6)
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 143
    saved = (tmp_path / "last_checkpoint").read_text()
    stopped = read_checkpoint(tmp_path / saved)["iteration"]
    assert saved == f"model_{stopped:07d}.pth"
    # A damaged last checkpoint: the newest readable one is taken.
    (tmp_path / "last_checkpoint").write_text("model_9999999.pth")
    (tmp_path / "model_9999999.pth").write_bytes(b"PK\x03\x04 cut short")
    done = train_net.run("--resume", *options(tmp_path))
    assert done.returncode == 0, done.stderr
    assert "can't be read" in (tmp_path / "log.txt").read_text()
    same_result(whole, tmp_path, metrics_of)


def test_eval_only_gives_the_numbers_of_training(train_net: Any, whole: Path, tmp_path: Path) -> None:
    weights = str(whole / "model_final.pth")
    done = train_net.run("--eval-only", "MODEL.WEIGHTS", weights, *options(tmp_path))
    assert done.returncode == 0, done.stderr
    first, second = (
        (folder / "inference/coco_instances_results.json").read_text() for folder in (whole, tmp_path)
    )
    assert first == second
    assert "AP of segm per class" in done.stdout


def test_ctrl_c_says_one_line_and_saves_nothing(train_net: Any, tmp_path: Path) -> None:
    keys = ["SOLVER.CHECKPOINT_PERIOD", "1000", "TEST.EVAL_PERIOD", "0"]
    process = train_net.start(*keys, *options(tmp_path), "SOLVER.MAX_ITER", "1000")
    wait_for_lines(process, tmp_path, 2)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert errors.strip() == "error: interrupted."
    assert not list(tmp_path.glob("*.pth"))
