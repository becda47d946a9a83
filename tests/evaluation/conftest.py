"""Shared by the tests of the evaluation: perfect predictions, and where the real photos are."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pycocotools.mask as mask_util
import pytest
import torch

from cardamage.structures import Boxes, BoxMode, Instances, RLEMasks
from tests.support.paths import SHARED_DATA


def _rle(segmentation: Any, height: int, width: int) -> dict[str, Any]:
    if isinstance(segmentation, list):
        return mask_util.merge(
            mask_util.frPyObjects([list(map(float, p)) for p in segmentation], height, width)
        )
    if isinstance(segmentation["counts"], list):
        return mask_util.frPyObjects(segmentation, height, width)
    return segmentation


def _as_predictions(record: dict[str, Any], masks: bool = True) -> Instances:
    height, width, annotations = record["height"], record["width"], record["annotations"]
    boxes = [BoxMode.convert(list(a["bbox"]), a["bbox_mode"], BoxMode.XYXY_ABS) for a in annotations]
    instances = Instances(
        (height, width),
        pred_boxes=Boxes(torch.tensor(np.array(boxes, dtype=np.float64).reshape(-1, 4))),
        scores=torch.ones(len(annotations)),
        pred_classes=torch.tensor([a["category_id"] for a in annotations], dtype=torch.int64),
    )
    if masks:
        rles = [_rle(a["segmentation"], height, width) for a in annotations]
        instances.pred_masks = RLEMasks(rles, (height, width))
    return instances


@pytest.fixture(scope="session")
def as_predictions() -> Callable[..., Instances]:
    """Turns a dataset dict's annotations into predictions that are exactly right."""
    return _as_predictions


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder with real photos, beside the checkout."""
    folder = SHARED_DATA
    if not folder.is_dir():
        pytest.skip(f"{folder} isn't here")
    return folder
