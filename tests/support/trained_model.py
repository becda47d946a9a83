"""A tiny Mask R-CNN of random weights, for commands that take a trained model."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import torch
import yaml

from cardamage.config import get_cfg
from cardamage.modeling import build_model

from .paths import REPOSITORY

CLASSES = ["dent", "rayée"]
CONFIG = {
    "_BASE_": str(REPOSITORY / "configs/Base-RCNN-FPN.yaml"),
    "MODEL": {
        "DEVICE": "cpu",
        "MASK_ON": True,
        "RESNETS": {"DEPTH": 18, "RES2_OUT_CHANNELS": 64, "NORM": "BN"},
        "FPN": {"OUT_CHANNELS": 16},
        "RPN": {"PRE_NMS_TOPK_TEST": 100, "POST_NMS_TOPK_TEST": 20},
        "ROI_BOX_HEAD": {"FC_DIM": 16},
        "ROI_MASK_HEAD": {"CONV_DIM": 8, "NUM_CONV": 1},
    },
    "INPUT": {"MIN_SIZE_TEST": 64, "MAX_SIZE_TEST": 96},
    "DATASETS": {"TRAIN": [], "TEST": []},
}


class TrainedModel(NamedTuple):
    """A config, a checkpoint for it, and the arguments that name both."""

    config: Path
    weights: Path

    @property
    def arguments(self) -> list[str]:
        return ["--config-file", str(self.config), "--weights", str(self.weights)]


def write_trained_model(folder: Path) -> TrainedModel:
    """Write the config and the weights into a folder."""
    config, weights = folder / "tiny.yaml", folder / "tiny.pth"
    config.write_text(yaml.safe_dump(CONFIG))
    torch.manual_seed(0)
    cfg = get_cfg()
    cfg.merge_from_file(str(config))
    cfg.MODEL.ROI_HEADS.NUM_CLASSES = len(CLASSES)
    torch.save({"model": build_model(cfg).state_dict(), "cardamage": {"thing_classes": CLASSES}}, weights)
    return TrainedModel(config, weights)
