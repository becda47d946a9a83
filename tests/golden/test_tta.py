"""What upstream's test-time augmentation finds, recorded: see the README beside this file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pycocotools.mask as mask_util
import pytest
import torch

from cardamage.config import get_cfg, make_exact
from cardamage.modeling import GeneralizedRCNNWithTTA, build_model

from .test_golden import COMMON, CONFIGS, check_instances, weights_of

HERE = Path(__file__).parent
NAME = "test_time_augmentation.json"
CASES: dict[str, list[Any]] = {
    "masks": [],
    "cascade, class-agnostic masks": [
        *("MODEL.ROI_HEADS.NAME", "CascadeROIHeads", "MODEL.ROI_BOX_HEAD.CLS_AGNOSTIC_BBOX_REG", True),
        *("MODEL.ROI_MASK_HEAD.CLS_AGNOSTIC_MASK", True, "MODEL.ROI_MASK_HEAD.CONV_DIM", 48),
    ],
    "boxes": ["MODEL.MASK_ON", False],
}
_SMALL = [
    *("MODEL.FPN.OUT_CHANNELS", 32, "MODEL.ROI_BOX_HEAD.FC_DIM", 64, "MODEL.ROI_MASK_HEAD.CONV_DIM", 32),
    *("MODEL.RPN.POST_NMS_TOPK_TEST", 60, "MODEL.ROI_HEADS.NUM_CLASSES", 6),
    *("TEST.AUG.MIN_SIZES", (90, 128), "TEST.AUG.MAX_SIZE", 170, "TEST.DETECTIONS_PER_IMAGE", 30),
]


def config_of(case: str) -> Any:
    cfg = get_cfg()
    cfg.merge_from_file(str(CONFIGS / "parts/mask_rcnn_R_18_FPN.yaml"))
    make_exact(cfg)
    cfg.merge_from_list([*COMMON, *_SMALL, *CASES[case]])
    return cfg


def photo() -> dict[str, Any]:
    picture = cv2.imread(str(HERE / "picture.png"))
    # As a loader gives it: resized, with the size of the photo itself.
    resized = cv2.resize(picture, (195, 130), interpolation=cv2.INTER_AREA)
    return {"image": torch.from_numpy(resized.transpose(2, 0, 1).copy()), "height": 160, "width": 240}


@pytest.mark.parametrize("case", CASES)
def test_merged_views(case: str) -> None:
    records = json.loads((HERE / NAME).read_text(encoding="utf-8"))
    record = next(r for r in records if r["case"] == case)
    cfg = config_of(case)
    model = build_model(cfg).eval()
    model.load_state_dict(weights_of(model))
    found = GeneralizedRCNNWithTTA(cfg, model)([photo()])[0]["instances"]
    check_instances(found, record)
    assert len(record["masks"]) == (4 if cfg.MODEL.MASK_ON else 0)
    for index, rle in record["masks"]:
        own = mask_util.encode(np.asfortranarray(found.pred_masks[index].numpy(), dtype=np.uint8))
        assert mask_util.iou([own], [rle], [0])[0, 0] >= 0.999
