"""A few drawn photos, a tiny Mask R-CNN, and train_net.py run as users do."""

from __future__ import annotations

import ast
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import cv2
import numpy as np
import pytest
import yaml

from cardamage.catalog import DatasetCatalog, MetadataCatalog

Run = Callable[..., "subprocess.CompletedProcess[str]"]
ROOT = Path(__file__).parents[2]

CONFIG = {
    "_BASE_": str(ROOT / "configs/Base-RCNN-FPN.yaml"),
    "MODEL": {
        "MASK_ON": True,
        "RESNETS": {"DEPTH": 18, "RES2_OUT_CHANNELS": 64, "NORM": "BN"},
        "BACKBONE": {"FREEZE_AT": 0},
        "FPN": {"OUT_CHANNELS": 16},
        "RPN": {
            "PRE_NMS_TOPK_TRAIN": 100,
            "POST_NMS_TOPK_TRAIN": 100,
            "PRE_NMS_TOPK_TEST": 100,
            "POST_NMS_TOPK_TEST": 20,
        },
        "ROI_BOX_HEAD": {"FC_DIM": 16},
        "ROI_MASK_HEAD": {"CONV_DIM": 8, "NUM_CONV": 1},
        "ROI_HEADS": {"BATCH_SIZE_PER_IMAGE": 16, "SCORE_THRESH_TEST": 0.0},
    },
    "INPUT": {"MIN_SIZE_TRAIN": [64], "MAX_SIZE_TRAIN": 96, "MIN_SIZE_TEST": 64, "MAX_SIZE_TEST": 96},
    "SOLVER": {
        "IMS_PER_BATCH": 2,
        "BASE_LR": 0.005,
        "MAX_ITER": 12,
        "STEPS": [9],
        "WARMUP_ITERS": 2,
        "CHECKPOINT_PERIOD": 4,
    },
    "DATALOADER": {"NUM_WORKERS": 0},
    "TEST": {"EVAL_PERIOD": 4},
    "WRITER_PERIOD": 1,
    "SEED": 7,
}


def draw_photos(folder: Path, count: int, seed: int) -> Path:
    """Draw photos with coloured rectangles and write their COCO file."""
    rng = np.random.default_rng(seed)
    content: dict[str, list[Any]] = {"images": [], "annotations": [], "categories": []}
    content["categories"] = [{"id": 3, "name": "dent"}, {"id": 8, "name": "scratch"}]
    folder.mkdir(parents=True)
    for index in range(count):
        height, width = (64, 96) if index % 2 else (96, 64)
        photo = np.full((height, width, 3), 60 + 20 * (index % 5), np.uint8)
        for _ in range(2):
            kind = int(rng.integers(2))
            x, y = int(rng.integers(0, width - 30)), int(rng.integers(0, height - 30))
            w, h = (28, 10) if kind else (20, 24)
            cv2.rectangle(photo, (x, y), (x + w, y + h), (30, 30, 220) if kind else (220, 200, 40), -1)
            content["annotations"].append(
                {
                    "id": len(content["annotations"]) + 1,
                    "image_id": index,
                    "category_id": (3, 8)[kind],
                    "bbox": [x, y, w, h],
                    "area": w * h,
                    "iscrowd": 0,
                    "segmentation": [[x, y, x + w, y, x + w, y + h, x, y + h]],
                }
            )
        cv2.imwrite(str(folder / f"{index}.png"), photo)
        content["images"].append({"id": index, "file_name": f"{index}.png", "height": height, "width": width})
    (folder / "coco.json").write_text(json.dumps(content))
    return folder


@contextmanager
def _interruptible() -> Iterator[None]:
    """Processes started in here end on SIGINT, which a shell has its background jobs ignore."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


@dataclass
class TrainNet:
    """Runs ``train_net.py`` on the drawn photos.

    Attributes:
        config: its config file.
        options: keys and values of its datasets.
        thin: keys and values of a trunk whose checkpoints have 28 MB, not 90.
    """

    config: Path
    options: list[str]
    thin: ClassVar[tuple[str, ...]] = (
        *("MODEL.RESNETS.DEPTH", "50", "MODEL.RESNETS.STEM_OUT_CHANNELS", "32"),
        *("MODEL.RESNETS.RES2_OUT_CHANNELS", "32", "MODEL.RESNETS.WIDTH_PER_GROUP", "32"),
    )

    def command(self, *args: str, torchrun: int = 0) -> list[str]:
        start = [sys.executable]
        if torchrun:
            start += ["-m", "torch.distributed.run", "--nproc-per-node", str(torchrun), "--master-port", "0"]
            start += ["--rdzv-backend", "c10d", "--rdzv-endpoint", "localhost:0"]
        flags = [arg for arg in args if arg.startswith("--")]
        keys = [arg for arg in args if not arg.startswith("--")]
        return [
            *start,
            str(ROOT / "train_net.py"),
            "--config-file",
            str(self.config),
            *flags,
            *self.options,
            *keys,
        ]

    def start(self, *args: str, torchrun: int = 0) -> subprocess.Popen[str]:
        with _interruptible():
            return subprocess.Popen(
                self.command(*args, torchrun=torchrun),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                text=True,
                env=self.environment(),
            )

    def run(self, *args: str, torchrun: int = 0) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command(*args, torchrun=torchrun),
            capture_output=True,
            text=True,
            timeout=300,
            env=self.environment(),
            check=False,
        )

    def environment(self) -> dict[str, str]:
        path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
        return {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": path, "PYTHONUNBUFFERED": "1"}


@pytest.fixture(scope="session")
def train_net(tmp_path_factory: pytest.TempPathFactory) -> TrainNet:
    folder = tmp_path_factory.mktemp("photos")
    train, test = draw_photos(folder / "train", 7, 1), draw_photos(folder / "test", 3, 2)
    config = folder / "tiny.yaml"
    config.write_text(yaml.safe_dump(CONFIG))
    options = ["DATASETS.TRAIN", f"('coco:{train}/coco.json@{train}',)"]
    options += ["DATASETS.TEST", f"('coco:{test}/coco.json@{test}',)"]
    return TrainNet(config, options)


@pytest.fixture(scope="session")
def whole(train_net: TrainNet, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The output folder of an uninterrupted run."""
    folder = tmp_path_factory.mktemp("whole")
    done = train_net.run("OUTPUT_DIR", str(folder))
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture
def train_here(train_net: TrainNet, run_script: Run) -> Iterator[Run]:
    """Run ``train_net.py`` in this process, and forget what it read of its datasets."""
    yield lambda *args: run_script(*train_net.command(*args)[1:])
    for names in train_net.options[1::2]:
        (name,) = ast.literal_eval(names)
        DatasetCatalog.remove(name)
        MetadataCatalog.pop(name, None)


TIMES = {"time", "data_time", "data_share", "rank_data_time", "eta_seconds"}


@pytest.fixture(scope="session")
def metrics_of() -> Callable[[Path], list[str]]:
    """Return the lines of a metrics.json without what differs between equal runs."""

    def read(folder: Path) -> list[str]:
        lines = (folder / "metrics.json").read_text().splitlines()
        kept = [{k: v for k, v in json.loads(line).items() if k not in TIMES} for line in lines]
        return [json.dumps(line, sort_keys=True) for line in kept]

    return read
