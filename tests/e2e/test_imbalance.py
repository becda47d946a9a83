"""A short training with the keys for rare classes, thin objects and false positives, all at once."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from cardamage.catalog import DatasetCatalog, MetadataCatalog
from cardamage.config import CfgNode, get_cfg
from cardamage.engine import DefaultTrainer
from cardamage.structures import BoxMode

NAME = "imbalance_test"


def _record(folder: Path, number: int) -> dict[str, Any]:
    rng = np.random.default_rng(number)
    picture = rng.integers(0, 60, (64, 96, 3), dtype=np.uint8)
    x, y = (int(v) for v in rng.integers(4, 30, 2))
    width, height = ((40, 3), (24, 20))[number % 2]
    picture[y : y + height, x : x + width] = 220
    cv2.imwrite(str(folder / f"{number}.png"), picture)
    outline = [x, y, x + width, y, x + width, y + height, x, y + height]
    note = {
        "bbox": [x, y, x + width, y + height],
        "bbox_mode": BoxMode.XYXY_ABS,
        "category_id": number % 2,
        "segmentation": [outline],
    }
    name = str(folder / f"{number}.png")
    return {"file_name": name, "image_id": number, "height": 64, "width": 96, "annotations": [note]}


@pytest.fixture
def cfg(tmp_path: Path) -> Iterator[CfgNode]:
    for folder in ("damaged", "undamaged"):
        (tmp_path / folder).mkdir()
    made = [_record(tmp_path / "damaged", number) for number in range(5)]
    for number in range(3):
        picture = np.random.default_rng(number).integers(0, 60, (64, 96, 3), dtype=np.uint8)
        cv2.imwrite(str(tmp_path / f"undamaged/{number}.png"), picture)
    DatasetCatalog.register(NAME, lambda: made)
    MetadataCatalog.get(NAME).set(thing_classes=["scratch", "dent"], evaluator_type="coco")
    cfg = get_cfg()
    cfg.merge_from_file(Path(__file__).parents[2] / "configs/parts/mask_rcnn_R_18_FPN.yaml")
    cfg.merge_from_list(
        [
            *("MODEL.DEVICE", "cpu", "MODEL.WEIGHTS", "", "MODEL.ROI_HEADS.NUM_CLASSES", 2, "SEED", 3),
            *("DATASETS.TRAIN", (NAME,), "DATASETS.TEST", (), "OUTPUT_DIR", str(tmp_path / "out")),
            *("SOLVER.IMS_PER_BATCH", 2, "SOLVER.MAX_ITER", 4, "SOLVER.WARMUP_ITERS", 0, "SOLVER.STEPS", ()),
            *("INPUT.MIN_SIZE_TRAIN", (64,), "DATALOADER.NUM_WORKERS", 0, "WRITER_PERIOD", 1),
            *("SOLVER.AMP.ENABLED", False, "DATALOADER.BACKGROUND_RATIO", 0.5),
            *("DATASETS.BACKGROUND", (f"images:{tmp_path / 'undamaged'}",)),
            *("DATALOADER.SAMPLER_TRAIN", "ClassAwareSampler", "MODEL.RPN.ASSIGNER", "atss"),
            *("MODEL.ROI_HEADS.SAMPLER", "hard_negative", "MODEL.ROI_BOX_HEAD.BACKGROUND_WEIGHT", 1.5),
        ]
    )
    yield cfg
    DatasetCatalog.remove(NAME)
    MetadataCatalog.remove(NAME)


def test_a_training_with_all_of_them(cfg: CfgNode) -> None:
    trainer = DefaultTrainer(cfg)
    trainer.train()
    lines = (Path(cfg.OUTPUT_DIR) / "metrics.json").read_text().splitlines()
    losses = [json.loads(line)["total_loss"] for line in lines if "total_loss" in json.loads(line)]
    assert len(losses) == 4
    assert np.isfinite(losses).all()
    assert (Path(cfg.OUTPUT_DIR) / "model_final.pth").exists()
