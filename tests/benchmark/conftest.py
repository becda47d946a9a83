"""A few drawn photos with outlines, and settings so small that a side runs in a moment."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from cardamage.benchmark.photo_files import PhotoFiles, write_photos
from cardamage.benchmark.photos import Photos, find_photos
from cardamage.benchmark.settings import Settings

CONFIG = Path(__file__).resolve().parents[2] / "configs/parts/mask_rcnn_R_18_FPN.yaml"
OPTS = [
    *("DATALOADER.NUM_WORKERS", "0"),
    *("MODEL.RPN.POST_NMS_TOPK_TEST", "60", "MODEL.RPN.POST_NMS_TOPK_TRAIN", "60"),
    *("MODEL.RPN.PRE_NMS_TOPK_TEST", "200", "MODEL.RPN.PRE_NMS_TOPK_TRAIN", "200"),
    *("TEST.DETECTIONS_PER_IMAGE", "20"),
]


@pytest.fixture(scope="session")
def labelme(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Labelme folder of three photos of 120 x 160, each with two outlines of two classes."""
    folder = tmp_path_factory.mktemp("labelme")
    rng = np.random.default_rng(3)
    for number in range(3):
        noise = rng.integers(0, 255, (12, 16, 3), dtype=np.uint8)
        cv2.imwrite(str(folder / f"{number}.jpg"), cv2.resize(noise, (160, 120)))
        content: dict[str, Any] = {
            "version": "5.5.0",
            "flags": {},
            "imagePath": f"{number}.jpg",
            "imageData": None,
            "imageHeight": 120,
            "imageWidth": 160,
            "shapes": [shape("dent", 20 + number, 10), shape("scratch", 80, 40 + number)],
        }
        (folder / f"{number}.json").write_text(json.dumps(content), encoding="utf-8")
    return folder


def shape(label: str, x: float, y: float) -> dict[str, Any]:
    """An outline 40 wide and 30 high."""
    points = [[x, y], [x + 40, y], [x + 40, y + 30], [x, y + 30]]
    return {"label": label, "points": points, "shape_type": "polygon", "group_id": None, "flags": {}}


@pytest.fixture(scope="session")
def photos(labelme: Path, tmp_path_factory: pytest.TempPathFactory) -> Photos:
    return find_photos([str(labelme)], 2, tmp_path_factory.mktemp("scratch"))


@pytest.fixture
def files(photos: Photos, tmp_path: Path) -> PhotoFiles:
    return write_photos(photos, (96, 144), tmp_path / "photos")


@pytest.fixture
def settings(files: PhotoFiles, tmp_path: Path) -> Settings:
    return Settings(
        config_file=str(CONFIG),
        opts=list(OPTS),
        device=torch.device("cpu"),
        size=(64, 96),
        batch=2,
        inference_batches=[1],
        rounds=2,
        repeat=1,
        warmup=1,
        files=files,
        scratch=tmp_path,
    )
