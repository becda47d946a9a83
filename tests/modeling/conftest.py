from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch

from cardamage.config import get_cfg
from cardamage.structures import BitMasks, Boxes, Instances, PolygonMasks
from cardamage.utils.events import EventStorage


def _tiny_cfg(**options: Any) -> Any:
    cfg = get_cfg()
    model = cfg.MODEL
    model.DEVICE = "cpu"
    model.MASK_ON = True
    model.BACKBONE.NAME = "build_resnet_fpn_backbone"
    model.BACKBONE.FREEZE_AT = 0
    model.RESNETS.DEPTH = 18
    model.RESNETS.NORM = "BN"
    model.RESNETS.RES2_OUT_CHANNELS = 64
    model.RESNETS.OUT_FEATURES = ["res2", "res3", "res4", "res5"]
    model.FPN.IN_FEATURES = ["res2", "res3", "res4", "res5"]
    model.FPN.OUT_CHANNELS = 32
    model.ANCHOR_GENERATOR.SIZES = [[16], [32], [64], [128], [256]]
    model.ANCHOR_GENERATOR.ASPECT_RATIOS = [[0.5, 1.0, 2.0]]
    model.RPN.IN_FEATURES = ["p2", "p3", "p4", "p5", "p6"]
    model.RPN.PRE_NMS_TOPK_TRAIN = 200
    model.RPN.POST_NMS_TOPK_TRAIN = 100
    model.RPN.PRE_NMS_TOPK_TEST = 200
    model.RPN.POST_NMS_TOPK_TEST = 50
    model.ROI_HEADS.NAME = "StandardROIHeads"
    model.ROI_HEADS.NUM_CLASSES = 3
    model.ROI_HEADS.IN_FEATURES = ["p2", "p3", "p4", "p5"]
    model.ROI_HEADS.BATCH_SIZE_PER_IMAGE = 32
    model.ROI_BOX_HEAD.NAME = "FastRCNNConvFCHead"
    model.ROI_BOX_HEAD.NUM_FC = 1
    model.ROI_BOX_HEAD.FC_DIM = 64
    model.ROI_BOX_HEAD.POOLER_RESOLUTION = 7
    model.ROI_MASK_HEAD.NAME = "MaskRCNNConvUpsampleHead"
    model.ROI_MASK_HEAD.NUM_CONV = 1
    model.ROI_MASK_HEAD.CONV_DIM = 32
    model.ROI_MASK_HEAD.POOLER_RESOLUTION = 14
    cfg.merge_from_list([part for item in options.items() for part in item])
    return cfg


def _sample(
    seed: int, count: int = 3, size: tuple[int, int] = (96, 128), bitmasks: bool = False
) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    height, width = size
    corner = rng.uniform(0, 0.5, (count, 2)) * (width, height)
    boxes = np.concatenate([corner, corner + rng.uniform(8, 0.45 * min(size), (count, 2))], axis=1)
    masks: Any = PolygonMasks([[np.array([a, b, c, b, c, d, a, d])] for a, b, c, d in boxes])
    if bitmasks:
        masks = BitMasks.from_polygon_masks(masks, height, width)
    return {
        "image": torch.from_numpy(rng.integers(0, 256, (3, height, width), dtype=np.uint8)),
        "instances": Instances(
            size,
            gt_boxes=Boxes(torch.as_tensor(boxes, dtype=torch.float32).reshape(-1, 4)),
            gt_classes=torch.from_numpy(rng.integers(0, 3, count)),
            gt_masks=masks,
        ),
        "height": height,
        "width": width,
    }


@pytest.fixture
def tiny_cfg() -> Callable[..., Any]:
    """Makes the config of a small Mask R-CNN; keyword arguments (in a dict) are config keys."""
    return _tiny_cfg


@pytest.fixture
def sample() -> Callable[..., dict[str, Any]]:
    """Makes an input of random pixels and random rectangles."""
    return _sample


@pytest.fixture
def storage() -> Iterator[EventStorage]:
    """An open event storage."""
    with EventStorage(0) as opened:
        yield opened
