"""What a user reads when a run can't start or go on: the exact sentences."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest
import torch

from cardamage.checkpoint import read_checkpoint


def sentence(done: subprocess.CompletedProcess[str]) -> str:
    """The one line on stderr."""
    assert done.returncode == 1, done.stdout + done.stderr
    lines = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1, done.stderr
    assert "Traceback" not in done.stderr
    return lines[0].removeprefix("error: ")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_more_gpus_than_there_are(train_here: Any, tmp_path: Path) -> None:
    assert sentence(train_here("--num-gpus=2", "OUTPUT_DIR", str(tmp_path))) == (
        "--num-gpus 2 was asked for, but no GPU was found on this machine: leave --num-gpus out to train on "
        "the CPU, or start CPU processes with torchrun --nproc-per-node 2."
    )


def test_output_folder_that_is_a_file(train_here: Any, tmp_path: Path) -> None:
    taken = tmp_path / "output"
    taken.write_text("")
    assert sentence(train_here("OUTPUT_DIR", str(taken))) == (
        f"The output folder '{taken}' is, or lies under, a file: set OUTPUT_DIR to another folder."
    )


def other_count(whole: Path, folder: Path) -> Path:
    """The checkpoint, as of a model with five classes."""
    checkpoint = read_checkpoint(whole / "model_final.pth")
    state = checkpoint["model"]
    for name, rows in (("cls_score", 6), ("bbox_pred", 20)):
        for part in ("weight", "bias"):
            key = f"roi_heads.box_predictor.{name}.{part}"
            state[key] = torch.zeros(rows, *state[key].shape[1:])
    for part in ("weight", "bias"):
        key = f"roi_heads.mask_head.predictor.{part}"
        state[key] = torch.zeros(5, *state[key].shape[1:])
    checkpoint["cardamage"]["thing_classes"] = list("abcde")
    torch.save(checkpoint, folder / "five.pth")
    (folder / "last_checkpoint").write_text("five.pth")
    return folder / "five.pth"


def test_resuming_from_another_class_count(train_here: Any, whole: Path, tmp_path: Path) -> None:
    five = other_count(whole, tmp_path)
    done = train_here("--resume", "OUTPUT_DIR", str(tmp_path))
    assert sentence(done) == (
        f"The weights file '{five}' knows 5 classes, the model 2: use the data or "
        "MODEL.ROI_HEADS.NUM_CLASSES that it was trained with."
    )
    assert not (tmp_path / "metrics.json").exists()


def test_evaluating_weights_of_other_classes(train_here: Any, whole: Path, tmp_path: Path) -> None:
    five = other_count(whole, tmp_path)
    done = train_here("--eval-only", "MODEL.WEIGHTS", str(five), "OUTPUT_DIR", str(tmp_path))
    said = sentence(done)
    assert said.startswith("Dataset 'coco:")
    assert said.endswith(
        "' has objects of class 'dent', but the weights have the classes a, b, c, d, e; "
        "rename the class, or take its objects out."
    )


def test_fine_tuning_on_another_class_count(train_here: Any, whole: Path, tmp_path: Path) -> None:
    five = other_count(whole, tmp_path)
    done = train_here("MODEL.WEIGHTS", str(five), "OUTPUT_DIR", str(tmp_path / "o"), "SOLVER.MAX_ITER", "1")
    assert done.returncode == 0, done.stderr
    assert "knows 5 classes, the model 2: the class predictors start from fresh weights." in done.stdout


def test_evaluation_without_weights(train_here: Any, tmp_path: Path) -> None:
    assert sentence(train_here("--eval-only", "OUTPUT_DIR", str(tmp_path))) == (
        "--eval-only needs weights: add MODEL.WEIGHTS FILE, or --resume."
    )


def test_damaged_weights(train_here: Any, whole: Path, tmp_path: Path) -> None:
    damaged = tmp_path / "cut.pth"
    whole = (whole / "model_final.pth").read_bytes()
    damaged.write_bytes(whole[: len(whole) // 2])
    done = train_here("--eval-only", "MODEL.WEIGHTS", str(damaged), "OUTPUT_DIR", str(tmp_path))
    assert sentence(done) == (
        f"The weights file '{damaged}' can't be read: it is damaged, cut short or no PyTorch checkpoint. "
        "Use another file, or download it again."
    )


def test_nan_loss_names_the_images_and_saves_nothing(train_here: Any, tmp_path: Path) -> None:
    keys = ["SOLVER.BASE_LR", "1e30", "SOLVER.WARMUP_ITERS", "0", "OUTPUT_DIR", str(tmp_path)]
    said = sentence(train_here(*keys, "SOLVER.CHECKPOINT_PERIOD", "100"))
    assert said.startswith("The loss is not finite at iteration 1 (")
    assert said.count(".png") == 2
    assert said.endswith(
        ".png: look at their annotations, lower SOLVER.BASE_LR, or set SOLVER.CLIP_GRADIENTS.ENABLED True."
    )
    assert not list(tmp_path.glob("*.pth"))
