"""The look at the anchors before a training."""

from __future__ import annotations

import logging
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from torch import nn

from cardamage.anchors.warning import unreached_boxes
from cardamage.config import CfgNode, get_cfg
from cardamage.data import DatasetMapper, build_detection_train_loader
from cardamage.data import transforms as T  # noqa: N812
from cardamage.engine.assembling import warn_of_anchors
from cardamage.modeling import build_model
from cardamage.structures import BoxMode
from tests.support.paths import REPOSITORY


def _cfg(*opts: Any) -> CfgNode:
    cfg = get_cfg()
    cfg.merge_from_file(str(REPOSITORY / "configs" / "parts" / "mask_rcnn_R_18_FPN.yaml"))
    sizes = ["INPUT.MIN_SIZE_TRAIN", (640, 800), "INPUT.MAX_SIZE_TRAIN", 1333]
    anchors = ["MODEL.ANCHOR_GENERATOR.SIZES", [[32], [64], [128], [256], [512]]]
    cfg.merge_from_list([*sizes, *anchors, "MODEL.MASK_ON", False, "OUTPUT_DIR", "runs/mine", *opts])
    return cfg


@pytest.fixture(scope="module")
def model() -> nn.Module:
    return build_model(_cfg("MODEL.ANCHOR_GENERATOR.ASPECT_RATIOS", [[0.5, 1.0, 2.0]]))


def _records(sides: np.ndarray, each: int = 7) -> list[dict[str, Any]]:
    """Dataset dicts of photos that don't exist: nothing may be read."""
    rng = np.random.default_rng(5)
    start = rng.uniform(0, 1, sides.shape) * ([640, 480] - sides)
    annotations = [
        {"bbox": box, "bbox_mode": BoxMode.XYWH_ABS, "category_id": 0}
        for box in np.concatenate([start, sides], axis=1).tolist()
    ]
    return [
        {
            "file_name": f"/nowhere/{i}.jpg",
            "height": 480,
            "width": 640,
            "annotations": annotations[i : i + each],
        }
        for i in range(0, len(annotations), each)
    ]


def _coco_like(count: int) -> np.ndarray:
    """Widths and heights distributed as those of COCO's boxes, measured on 318 of its pictures."""
    rng = np.random.default_rng(6)
    shares = [0, 0.005, 0.02, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.98, 1]
    pixels = [4, 6.1, 8.5, 11.1, 14.5, 25.4, 53.1, 115.2, 218.5, 407.8, 500]
    size = np.interp(rng.random(count), shares, np.log(pixels))
    ratio = rng.normal(0, 0.37, count)
    sides = np.exp(np.stack([size + ratio, size - ratio], axis=1))
    return np.clip(sides, 1, [640, 480])


def _loader(cfg: CfgNode, records: list[dict[str, Any]], mapper: Any = None) -> Any:
    return build_detection_train_loader(
        records, mapper=mapper or DatasetMapper(cfg, True), total_batch_size=2, seed=1
    )


def test_quiet_on_data_like_coco_and_quick(model: nn.Module) -> None:
    cfg = _cfg()
    loader = _loader(cfg, _records(_coco_like(30_000)))
    start = time.process_time()
    assert unreached_boxes(cfg, model, loader) is None
    assert time.process_time() - start < 5  # a fraction of a second; a slow machine is no defect


def test_thin_boxes_are_told_of(model: nn.Module, caplog: pytest.LogCaptureFixture) -> None:
    cfg = _cfg()
    thin = np.stack([np.full(300, 400.0), np.full(300, 12.0)], axis=1)
    loader = _loader(cfg, _records(np.concatenate([thin, _coco_like(700)])))
    sentence = unreached_boxes(cfg, model, loader)
    assert sentence is not None
    assert sentence.startswith("The anchors' best possible recall is 0.")
    config = Path("runs/mine") / "config.yaml"
    assert f"python tools/tune_anchors.py --config-file {config} -o" in sentence
    with caplog.at_level(logging.WARNING):
        warn_of_anchors(cfg, model, loader)
    assert sentence in caplog.text


def test_what_cannot_be_told_is_left(model: nn.Module) -> None:
    cfg = _cfg()
    thin = np.tile([[400.0, 8.0]], (300, 1))
    records = _records(thin)
    assert unreached_boxes(cfg, model, _loader(cfg, records)) is not None
    assert unreached_boxes(cfg, nn.Linear(1, 1), _loader(cfg, records)) is None
    assert unreached_boxes(cfg, model, [[{"image": None}]]) is None
    assert unreached_boxes(cfg, model, _loader(cfg, records, mapper=lambda record: record)) is None
    scaled = DatasetMapper(cfg, True, augmentations=[T.ResizeScale(0.1, 2.0, 640, 640)])
    assert unreached_boxes(cfg, model, _loader(cfg, records, mapper=scaled)) is None
    assert (
        unreached_boxes(cfg, model, _loader(cfg, _records(np.zeros((0, 2))) or [{"width": 9, "height": 9}]))
        is None
    )
    sizeless = [{key: value for key, value in record.items() if key != "height"} for record in records]
    loader = build_detection_train_loader(
        sizeless, mapper=DatasetMapper(cfg, True), total_batch_size=2, aspect_ratio_grouping=False, seed=1
    )
    assert unreached_boxes(cfg, model, loader) is None
