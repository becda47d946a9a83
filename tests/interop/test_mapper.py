"""Detectron2's own loader and mapper, with left and right."""

from __future__ import annotations

import itertools
import json
import logging
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

pytest.importorskip("detectron2", reason="needs Detectron2, see docs/parity.md")

from detectron2.data import DatasetCatalog as UpstreamDatasets

from cardamage.config import get_cfg
from cardamage.data import prepare_datasets
from cardamage.interop.config import to_upstream, without_effect
from cardamage.interop.datasets import register_for_training
from cardamage.interop.trainer import RunPlan, trainer_class

CLASSES = ["hood", "left_door", "right_door"]


@pytest.fixture
def name(tmp_path: Path) -> str:
    cv2.imwrite(str(tmp_path / "a.png"), np.full((60, 80, 3), 90, np.uint8))
    notes = []
    for number, x in ((1, 30), (2, 5), (3, 60)):
        outline = [x, 5, x + 10, 5, x + 10, 20, x, 20]
        notes.append(
            {"id": number, "image_id": 1, "category_id": number, "bbox": [x, 5, 10, 15], "area": 150}
            | {"iscrowd": 0, "segmentation": [outline]}
        )
    content = {
        "images": [{"id": 1, "file_name": "a.png", "height": 60, "width": 80}],
        "categories": [{"id": i, "name": text} for i, text in enumerate(CLASSES, start=1)],
        "annotations": notes,
    }
    (tmp_path / "coco.json").write_text(json.dumps(content))
    return f"coco:{tmp_path}/coco.json@{tmp_path}"


@pytest.mark.parametrize(("setting", "wanted"), [("auto", [0, 2, 1]), ("none", [0, 1, 2])])
def test_the_trainers_loader(
    name: str, tmp_path: Path, setting: str, wanted: list[int], caplog: pytest.LogCaptureFixture
) -> None:
    cfg: Any = get_cfg()
    cfg.MODEL.MASK_ON, cfg.MODEL.DEVICE = True, "cpu"
    cfg.DATASETS.TRAIN = (name,)
    cfg.INPUT.FLIP_CLASS_PAIRS, cfg.INPUT.MIN_SIZE_TRAIN = setting, (60,)
    cfg.SOLVER.IMS_PER_BATCH, cfg.DATALOADER.NUM_WORKERS = 1, 0
    assert "INPUT.FLIP_CLASS_PAIRS" not in without_effect(cfg)
    classes = prepare_datasets(cfg)
    register_for_training(name, str(tmp_path / "out"), cfg.INPUT.FLIP_CLASS_PAIRS)
    with caplog.at_level(logging.INFO, logger="cardamage"):
        loader = trainer_class(RunPlan(cfg, classes)).build_train_loader(to_upstream(cfg))
    seen = set()
    for (sample,) in itertools.islice(loader, 20):
        instances = sample["instances"]
        flipped = instances.gt_boxes.tensor[1, 0].item() == 65
        assert instances.gt_classes.tolist() == (wanted if flipped else [0, 1, 2])
        seen.add(flipped)
    assert seen == {True, False}
    UpstreamDatasets.pop(name)
