"""Drawn cars, a tiny Mask R-CNN, and runs of train_net.py's two backends in this process."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]

CONFIG = {
    "_BASE_": str(ROOT / "configs/Base-RCNN-FPN.yaml"),
    "MODEL": {
        "DEVICE": "cpu",
        "MASK_ON": True,
        "PIXEL_STD": [57.375, 57.12, 58.395],
        "RESNETS": {"DEPTH": 18, "RES2_OUT_CHANNELS": 64, "STEM_OUT_CHANNELS": 16, "NORM": "BN"},
        "BACKBONE": {"FREEZE_AT": 0},
        "FPN": {"OUT_CHANNELS": 16, "NORM": "BN"},
        "ANCHOR_GENERATOR": {
            "SIZES": [[12], [24], [40], [64], [96]],
            "ASPECT_RATIOS": [[0.33, 0.8, 1.6]],
        },
        "RPN": {
            "PRE_NMS_TOPK_TRAIN": 200,
            "POST_NMS_TOPK_TRAIN": 100,
            "PRE_NMS_TOPK_TEST": 100,
            "POST_NMS_TOPK_TEST": 50,
        },
        "ROI_BOX_HEAD": {"FC_DIM": 32},
        "ROI_MASK_HEAD": {"CONV_DIM": 16, "NUM_CONV": 1},
        "ROI_HEADS": {"BATCH_SIZE_PER_IMAGE": 32, "SCORE_THRESH_TEST": 0.0},
    },
    "INPUT": {"MIN_SIZE_TRAIN": [96], "MAX_SIZE_TRAIN": 160, "MIN_SIZE_TEST": 96, "MAX_SIZE_TEST": 160},
    "SOLVER": {
        "IMS_PER_BATCH": 2,
        "BASE_LR": 0.01,
        "MAX_ITER": 6,
        "STEPS": [],
        "WARMUP_ITERS": 2,
        "CHECKPOINT_PERIOD": 3,
    },
    "DATALOADER": {"NUM_WORKERS": 0},
    "TEST": {"EVAL_PERIOD": 0, "DETECTIONS_PER_IMAGE": 40},
    "WRITER_PERIOD": 1,
    "SEED": 7,
}

Run = Callable[..., dict[str, Any]]


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of eight drawn cars with Labelme files."""
    folder = tmp_path_factory.mktemp("cars")
    maker = [sys.executable, str(ROOT / "datasets/make_demo.py"), "--output", str(folder)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
    subprocess.run(
        [*maker, "--num", "8", "--seed", "5", "--width", "192", "--height", "128"],
        check=True,
        env=environment,
        stdout=subprocess.DEVNULL,
    )
    return folder


@pytest.fixture(scope="session")
def config_file(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny Mask R-CNN that trains on the drawn cars and is evaluated on them."""
    file = tmp_path_factory.mktemp("config") / "tiny.yaml"
    names = [f"labelme:{pictures}"]
    file.write_text(yaml.safe_dump({**CONFIG, "DATASETS": {"TRAIN": names, "TEST": names}}))
    return file


@pytest.fixture(scope="session")
def flags(config_file: Path) -> Callable[..., argparse.Namespace]:
    """Return train_net.py's flags for an output folder and keys."""

    def make(folder: Path, *opts: str, resume: bool = False, eval_only: bool = False) -> argparse.Namespace:
        return argparse.Namespace(
            config_file=str(config_file),
            resume=resume,
            eval_only=eval_only,
            num_gpus=1,
            num_machines=1,
            machine_rank=0,
            dist_url="auto",
            opts=["OUTPUT_DIR", str(folder), *opts],
        )

    return make
