"""tools/predict.py as a user runs it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pycocotools.mask as mask_util
import pytest
import torch

from cardamage.config import get_cfg
from cardamage.modeling import build_model

ROOT = Path(__file__).parents[2]
CONFIG = ROOT / "configs" / "demo" / "mask_rcnn_R_18_FPN.yaml"
CLASSES = ["dent", "rayée"]


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of random weights for two classes."""
    torch.manual_seed(0)
    cfg = get_cfg()
    cfg.merge_from_file(str(CONFIG))
    cfg.MODEL.DEVICE = "cpu"
    cfg.MODEL.ROI_HEADS.NUM_CLASSES = len(CLASSES)
    path = tmp_path_factory.mktemp("weights") / "model_final.pth"
    torch.save({"model": build_model(cfg).state_dict(), "cardamage": {"thing_classes": CLASSES}}, path)
    return path


def _run(*arguments: Any) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "tools" / "predict.py"), *map(str, arguments)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300)


def test_photos_and_video(weights: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    photos = tmp_path / "photos"
    photos.mkdir()
    for name, size in (("a.jpg", (120, 160)), ("b.png", (90, 200)), ("é.jpg", (64, 64))):
        picture = cv2.resize(rng.integers(0, 255, (8, 8, 3), np.uint8), size[::-1])
        (photos / name).write_bytes(cv2.imencode(Path(name).suffix, picture)[1].tobytes())
    (photos / "broken.jpg").write_text("not a picture")
    writer = cv2.VideoWriter(str(photos / "clip.avi"), cv2.VideoWriter.fourcc(*"MJPG"), 5, (96, 64))
    for _ in range(3):
        writer.write(cv2.resize(rng.integers(0, 255, (8, 8, 3), np.uint8), (96, 64)))
    writer.release()
    output = tmp_path / "out"
    options = ("--threshold", 0.05, "--opts", "MODEL.ROI_HEADS.NMS_TYPE", "hard")
    done = _run(
        "--config-file", CONFIG, "--weights", weights, "--input", photos, "--output", output, *options
    )
    assert done.returncode == 0, done.stderr
    assert "in 3 photos and 3 video frames" in done.stdout
    assert "1 of 5 files couldn't be read:" in done.stdout
    written = json.loads((output / "predictions.json").read_text(encoding="utf-8"))
    assert [Path(i["file"]).name for i in written["images"]] == ["a.jpg", "b.png", "é.jpg"]
    assert [Path(f["file"]).name for f in written["failed"]] == ["broken.jpg"]
    for image in written["images"]:
        assert (output / image["overlay"]).is_file()
        for found in image["instances"]:
            assert found["class"] == CLASSES[found["class_id"]]
            assert found["score"] >= 0.05
            assert found["segmentation"]["size"] == [image["height"], image["width"]]
            assert found["area_px"] == mask_util.area(found["segmentation"])
    assert sum(len(image["instances"]) for image in written["images"]) > 0
    assert {"clip.mp4", "clip.json"} <= {path.name for path in output.iterdir()}


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (
            {"--input": "nowhere/*.jpg"},
            "No picture or video matches 'nowhere/*.jpg'; give a file, a folder or a pattern.",
        ),
        ({"--threshold": "50"}, "--threshold is a score from 0 to 1, not 50."),
        ({"--batch-size": "0"}, "--batch-size must be 1 or more, not 0."),
        (
            {"--output": ROOT / "setup.py"},
            f"The output folder '{ROOT / 'setup.py'}' is, or lies under, a file: "
            "set --output to another folder.",
        ),
        ({"--weights": "none.pth"}, "The weights file 'none.pth' doesn't exist: check the path."),
    ],
)
def test_errors_are_one_sentence(
    change: dict[str, Any], sentence: str, weights: Path, tmp_path: Path, run_script: Any
) -> None:
    arguments = {
        "--config-file": CONFIG,
        "--weights": weights,
        "--input": ROOT / "setup.py",
        "--output": tmp_path,
    }
    words = (part for pair in {**arguments, **change}.items() for part in pair)
    done = run_script(ROOT / "tools" / "predict.py", *words)
    assert done.returncode == 1
    assert done.stderr.strip().splitlines()[-1] == f"error: {sentence}"
    assert "Traceback" not in done.stderr
