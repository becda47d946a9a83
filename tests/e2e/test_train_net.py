"""Options of training runs, and real photos where they are."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from cardamage.checkpoint import read_checkpoint
from cardamage.config import get_cfg
from cardamage.engine import DefaultPredictor
from cardamage.errors import DataError

ROOT = Path(__file__).parents[2]
DATA = ROOT.parent / "shared/data"


def test_help_is_quick_and_shows_detectron2s_flags(train_net: Any) -> None:
    code = "import sys, runpy; sys.argv = ['train_net.py', '--help']\n"
    code += f"try: runpy.run_path({str(ROOT / 'train_net.py')!r}, run_name='__main__')\n"
    code += "except SystemExit: print('torch' in sys.modules)"
    command = [sys.executable, "-c", code]
    shown = subprocess.run(
        command, capture_output=True, text=True, check=True, env=train_net.environment()
    ).stdout
    for flag in (
        "config-file",
        "resume",
        "eval-only",
        "num-gpus",
        "num-machines",
        "machine-rank",
        "dist-url",
    ):
        assert f"--{flag}" in shown
    assert shown.endswith("False\n")


AVERAGED = [
    *("SOLVER.EMA.ENABLED", "True", "SOLVER.EMA.DECAY", "0.5", "SOLVER.AMP.ENABLED", "True"),
    *("SOLVER.CLIP_GRADIENTS.ENABLED", "True", "SOLVER.LR_SCHEDULER_NAME", "WarmupCosineLR"),
    *("DATALOADER.NUM_WORKERS", "1", "SOLVER.MAX_ITER", "4", "SOLVER.CHECKPOINT_PERIOD", "2"),
    *("TEST.EVAL_PERIOD", "2", "SEED", "-1"),
]


@pytest.fixture(scope="module")
def averaged(train_net: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A training with averaged weights, bfloat16, clipping, workers, a cosine schedule, and no seed."""
    folder = tmp_path_factory.mktemp("averaged")
    done = train_net.run(*train_net.thin, *AVERAGED, "OUTPUT_DIR", str(folder))
    assert done.returncode == 0, done.stderr
    return folder


def test_a_run_without_a_seed_is_resumed_with_the_one_it_drew(
    train_net: Any, averaged: Path, tmp_path: Path, metrics_of: Callable[[Path], list[str]]
) -> None:
    folder = tmp_path / "resumed"
    shutil.copytree(averaged, folder)
    (folder / "last_checkpoint").write_text("model_0000001.pth")
    done = train_net.run("--resume", *train_net.thin, *AVERAGED, "OUTPUT_DIR", str(folder))
    assert done.returncode == 0, done.stderr
    assert metrics_of(folder) == metrics_of(averaged)
    first, second = (read_checkpoint(where / "model_final.pth") for where in (averaged, folder))
    for kind in ("model", "ema"):
        torch.testing.assert_close(second[kind], first[kind], rtol=0, atol=0)


def test_averaged_weights_are_evaluated_and_saved(train_net: Any, averaged: Path, tmp_path: Path) -> None:
    final = read_checkpoint(averaged / "model_final.pth")
    name = "backbone.bottom_up.stem.conv1.weight"
    assert not torch.equal(final["model"][name], final["ema"]["training_model"][name])
    keys = ["MODEL.WEIGHTS", str(averaged / "model_final.pth"), "OUTPUT_DIR", str(tmp_path)]
    done = train_net.run("--eval-only", *train_net.thin, *keys)
    assert done.returncode == 0, done.stderr
    results = [
        (folder / "inference/coco_instances_results.json").read_text() for folder in (averaged, tmp_path)
    ]
    assert results[0] == results[1]


def test_predictor_takes_one_picture_or_many(averaged: Path) -> None:
    cfg = get_cfg()
    cfg.merge_from_file(averaged / "config.yaml")
    cfg.MODEL.WEIGHTS = str(averaged / "model_final.pth")
    before = cfg.dump()
    predictor = DefaultPredictor(cfg)
    assert cfg.dump() == before
    assert predictor.metadata.thing_classes == ["dent", "scratch"]
    rng = np.random.default_rng(0)
    pictures = [rng.integers(0, 255, (h, w, 3), dtype=np.uint8) for h, w in ((64, 96), (90, 70), (64, 96))]
    alone = [predictor(picture)["instances"] for picture in pictures]
    together = [output["instances"] for output in predictor(pictures)]
    assert predictor([]) == []
    for one, other, picture in zip(alone, together, pictures, strict=True):
        assert one.image_size == other.image_size == picture.shape[:2]
        assert len(one) == len(other)
        torch.testing.assert_close(one.scores, other.scores, rtol=1e-3, atol=1e-4)
    with pytest.raises(DataError, match=r"\(height, width, 3\), not \(5, 5\)"):
        predictor(np.zeros((5, 5), np.uint8))


def test_predictor_sees_what_the_test_loader_gives(averaged: Path) -> None:
    from cardamage.data import DatasetCatalog, build_detection_test_loader, read_image

    cfg = get_cfg()
    cfg.merge_from_file(averaged / "config.yaml")
    cfg.MODEL.WEIGHTS = str(averaged / "model_final.pth")
    for order in ("BGR", "RGB"):
        cfg.INPUT.FORMAT = order
        predictor = DefaultPredictor(cfg)
        records = DatasetCatalog.get(cfg.DATASETS.TEST[0])
        for record, (item,) in zip(
            records, build_detection_test_loader(cfg, cfg.DATASETS.TEST[0]), strict=True
        ):
            own = predictor.preprocess(read_image(record["file_name"], "BGR"))
            assert torch.equal(own["image"], item["image"])
            assert (own["height"], own["width"]) == (item["height"], item["width"])


def coco(folder: Path) -> str:
    return f"('coco:{folder}/_annotations.coco.json@{folder}',)"


@pytest.mark.parametrize("config", ["parts", "damage"])
def test_shipped_configs_train_on_real_photos(train_net: Any, tmp_path: Path, config: str) -> None:
    if not DATA.is_dir():
        pytest.skip("the real photos are not here")
    keys = ["SOLVER.MAX_ITER", "2", "SOLVER.IMS_PER_BATCH", "2", "DATALOADER.NUM_WORKERS", "0"]
    keys += ["INPUT.MIN_SIZE_TRAIN", "(96,)", "INPUT.MAX_SIZE_TRAIN", "128", "MODEL.WEIGHTS", ""]
    keys += ["INPUT.CHECK_IMAGES", "False", "SOLVER.CHECKPOINT_PERIOD", "100", "OUTPUT_DIR", str(tmp_path)]
    keys += ["MODEL.RPN.PRE_NMS_TOPK_TRAIN", "100", "MODEL.ROI_HEADS.BATCH_SIZE_PER_IMAGE", "16"]
    keys += ["DATASETS.TEST", "()"]
    if config == "damage":
        keys += ["DATASETS.TRAIN", coco(DATA / "damage-coco/valid")]
    runner = type(train_net)(ROOT / f"configs/{config}/mask_rcnn_R_50_FPN.yaml", [])
    before = os.environ.get("DETECTRON2_DATASETS")
    os.environ["DETECTRON2_DATASETS"] = str(DATA)
    try:
        done = runner.run(*keys)
    finally:
        os.environ.pop("DETECTRON2_DATASETS")
        if before is not None:
            os.environ["DETECTRON2_DATASETS"] = before
    assert done.returncode == 0, done.stderr
    final = read_checkpoint(tmp_path / "model_final.pth")
    assert len(final["cardamage"]["thing_classes"]) == {"parts": 18, "damage": 8}[config]
    (*_, last) = (json.loads(line) for line in (tmp_path / "metrics.json").read_text().splitlines())
    assert np.isfinite(last["total_loss"])
