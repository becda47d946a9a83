"""A tiny Mask R-CNN of random weights, for tools that take a trained model."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import pytest
import torch
import yaml

from cardamage.config import get_cfg
from cardamage.modeling import build_model

ROOT = Path(__file__).parents[2]
CLASSES = ["dent", "rayée"]
CONFIG = {
    "_BASE_": str(ROOT / "configs/Base-RCNN-FPN.yaml"),
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


class TinyModel(NamedTuple):
    """A config, a checkpoint for it, and the arguments that name both."""

    config: Path
    weights: Path

    @property
    def arguments(self) -> list[str]:
        return ["--config-file", str(self.config), "--weights", str(self.weights)]


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> TinyModel:
    folder = tmp_path_factory.mktemp("tiny")
    config, weights = folder / "tiny.yaml", folder / "tiny.pth"
    config.write_text(yaml.safe_dump(CONFIG))
    torch.manual_seed(0)
    cfg = get_cfg()
    cfg.merge_from_file(str(config))
    cfg.MODEL.ROI_HEADS.NUM_CLASSES = len(CLASSES)
    torch.save({"model": build_model(cfg).state_dict(), "cardamage": {"thing_classes": CLASSES}}, weights)
    return TinyModel(config, weights)


@pytest.fixture
def draw_photo() -> Callable[..., Path]:
    """A function that writes a picture of random patches."""

    def draw(path: Path, seed: int = 0, size: tuple[int, int] = (60, 80)) -> Path:
        patches = np.random.default_rng(seed).integers(0, 255, (6, 8, 3), np.uint8)
        path.parent.mkdir(parents=True, exist_ok=True)
        picture = cv2.resize(patches, size[::-1], interpolation=cv2.INTER_NEAREST)
        path.write_bytes(cv2.imencode(path.suffix, picture)[1].tobytes())
        return path

    return draw
