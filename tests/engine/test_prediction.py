"""Predicting files: what is found, what is written, and what happens to files that can't be read."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pycocotools.mask as mask_util
import pytest
import torch

from cardamage.engine.prediction import find_inputs, predict_files
from cardamage.errors import DataError
from cardamage.structures import Boxes, Instances, RLEMasks

METADATA = {"thing_classes": ["dent", "rayée"]}


class BrightObjects:
    """Finds connected bright regions: a predictor whose right answer is known."""

    def __init__(self) -> None:
        self.batch_sizes: list[int] = []

    def __call__(self, images: list[np.ndarray]) -> list[dict[str, Any]]:
        self.batch_sizes.append(len(images))
        return [{"instances": self._find(image)} for image in images]

    @staticmethod
    def _find(image: np.ndarray) -> Instances:
        bright = (image.min(axis=2) > 128).astype(np.uint8)
        count, regions = cv2.connectedComponents(bright)
        masks = RLEMasks.from_tensor(torch.stack([torch.from_numpy(regions == i) for i in range(count)])[1:])
        return Instances(
            image.shape[:2],
            pred_boxes=masks.get_bounding_boxes() if count > 1 else Boxes(torch.zeros(0, 4)),
            scores=torch.linspace(0.9, 0.3, count - 1),
            pred_classes=torch.arange(count - 1) % 2,
            pred_masks=masks,
        )


def _photo(objects: int = 1, height: int = 60, width: int = 80) -> np.ndarray:
    image = np.zeros((height, width, 3), np.uint8)
    for i in range(objects):
        image[10:30, 5 + 25 * i : 20 + 25 * i] = 220
    return image


def _write(path: Path, image: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(cv2.imencode(path.suffix, image)[1].tobytes())
    return path


def _read_json(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf-8"))


def test_pictures(tmp_path: Path) -> None:
    photos = [_write(tmp_path / "in" / f"{n}.png", _photo(n, width=80 + 10 * n)) for n in (0, 1, 3)]
    predictor = BrightObjects()
    report = predict_files(predictor, photos, tmp_path / "out", METADATA, threshold=0.5, batch_size=2)
    assert predictor.batch_sizes == [2, 1]
    assert (report.images, report.objects, report.failed) == (3, 3, {})
    written = _read_json(tmp_path / "out" / "predictions.json")
    assert [len(i["instances"]) for i in written["images"]] == [0, 1, 2]  # the third of "3" scores 0.3
    last = written["images"][2]
    assert (last["file"], last["width"], last["height"]) == (str(photos[2]), 110, 60)
    assert [i["class"] for i in last["instances"]] == ["dent", "rayée"]
    first = last["instances"][0]
    assert first["bbox"] == [5, 10, 20, 30]
    assert first["area_px"] == 300
    assert mask_util.decode(first["segmentation"])[10:30, 5:20].all()
    overlay = cv2.imread(str(tmp_path / "out" / last["overlay"]))
    assert overlay.shape == (60, 110, 3)
    assert np.abs(overlay.astype(int) - _photo(3, width=110)).max() > 50


def test_unreadable_files_are_reported_and_the_rest_goes_on(tmp_path: Path) -> None:
    good = _write(tmp_path / "good.png", _photo())
    text = tmp_path / "text.jpg"
    text.write_text("not a picture")
    whole = cv2.imencode(".jpg", np.random.default_rng(0).integers(0, 255, (200, 200, 3), np.uint8))[
        1
    ].tobytes()
    cut = tmp_path / "cut.jpg"
    cut.write_bytes(whole[: len(whole) // 2])
    no_video = tmp_path / "clip.mp4"
    no_video.write_bytes(b"nothing")
    report = predict_files(BrightObjects(), [text, cut, good, no_video], tmp_path / "out")
    assert report.images == 1
    assert list(report.failed) == [str(text), str(cut), str(no_video)]
    failed = _read_json(tmp_path / "out" / "predictions.json")["failed"]
    assert [entry["file"] for entry in failed] == list(report.failed)
    assert all(entry["file"] in entry["reason"] for entry in failed)
    assert failed[2]["reason"] == f"{no_video} can't be read as a video; convert it to an .mp4 with H.264."


def test_nothing_readable(tmp_path: Path) -> None:
    text = tmp_path / "text.jpg"
    text.write_text("not a picture")
    with pytest.raises(DataError, match="^None of the files could be read: "):
        predict_files(BrightObjects(), [text], tmp_path / "out")
    assert not (tmp_path / "out" / "predictions.json").exists()


class InterruptedAt(BrightObjects):
    """Stops as after Ctrl-C, in a batch."""

    def __init__(self, batch: int) -> None:
        super().__init__()
        self.batch = batch

    def __call__(self, images: list[np.ndarray]) -> list[dict[str, Any]]:
        if len(self.batch_sizes) == self.batch:
            raise KeyboardInterrupt
        return super().__call__(images)


def test_after_an_interrupt_what_is_done_is_written(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging.getLogger("cardamage"), "propagate", True)
    photos = [_write(tmp_path / "in" / f"{n}.png", _photo()) for n in range(5)]
    with pytest.raises(KeyboardInterrupt):
        predict_files(InterruptedAt(2), photos, tmp_path / "out", batch_size=2)
    written = _read_json(tmp_path / "out" / "predictions.json")
    assert [image["file"] for image in written["images"]] == [str(photo) for photo in photos[:4]]
    assert (written["videos"], written["failed"]) == ([], [])
    assert [record.getMessage() for record in caplog.records] == [
        f"Interrupted: {tmp_path}/out/predictions.json holds the 4 of 5 files done so far."
    ]


def test_an_interrupt_before_the_first_picture_writes_nothing(tmp_path: Path) -> None:
    photo = _write(tmp_path / "in" / "a.png", _photo())
    with pytest.raises(KeyboardInterrupt):
        predict_files(InterruptedAt(0), [photo], tmp_path / "out")
    assert not list((tmp_path / "out").iterdir())


def test_same_names_get_files_of_their_own(tmp_path: Path) -> None:
    places = ("a.png", "a.jpg", "sub/A.png", "predictions.png", "voiture rayée.png")
    photos = [_write(tmp_path / "in" / place, _photo()) for place in places]
    predict_files(BrightObjects(), photos, tmp_path / "out")
    overlays = [i["overlay"] for i in _read_json(tmp_path / "out" / "predictions.json")["images"]]
    assert overlays == ["a.jpg", "a-2.jpg", "A-3.jpg", "predictions-2.jpg", "voiture rayée.jpg"]
    assert all((tmp_path / "out" / overlay).is_file() for overlay in overlays)


def test_video(tmp_path: Path) -> None:
    clip = tmp_path / "drive.avi"
    writer = cv2.VideoWriter(str(clip), cv2.VideoWriter.fourcc(*"MJPG"), 10, (80, 60))
    for n in (0, 1, 2, 1, 1):
        writer.write(_photo(n))
    writer.release()
    predictor = BrightObjects()
    report = predict_files(predictor, [clip], tmp_path / "out", METADATA, threshold=0.1, batch_size=2)
    assert predictor.batch_sizes == [2, 2, 1]
    assert (report.frames, report.objects) == (5, 5)
    (video,) = _read_json(tmp_path / "out" / "predictions.json")["videos"]
    detail = _read_json(tmp_path / "out" / video["json"])
    assert [len(frame["instances"]) for frame in detail["frames"]] == [0, 1, 2, 1, 1]
    assert [frame["time_s"] for frame in detail["frames"]] == [0, 0.1, 0.2, 0.3, 0.4]
    copy = cv2.VideoCapture(str(tmp_path / "out" / video["overlay"]))
    assert (copy.get(cv2.CAP_PROP_FRAME_COUNT), copy.get(cv2.CAP_PROP_FRAME_WIDTH)) == (5, 80)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "drive.json",
        "drive.mp4",
        "predictions.json",
    ]


def test_find_inputs(tmp_path: Path) -> None:
    for place in (
        "b.jpg",
        "a.PNG",
        "sub/c.webp",
        "notes.txt",
        ".hidden.jpg",
        "out/a.jpg",
        "clip.mov",
        "[1].jpg",
    ):
        path = tmp_path / place
        path.parent.mkdir(exist_ok=True)
        path.touch()

    def names(*patterns: str) -> list[str]:
        found = find_inputs([str(tmp_path / p) for p in patterns], skip=tmp_path / "out")
        return [path.relative_to(tmp_path).as_posix() for path in found]

    assert names("") == ["[1].jpg", "a.PNG", "b.jpg", "clip.mov", "sub/c.webp"]
    assert names("*.jpg", "b.jpg") == ["[1].jpg", "b.jpg"]
    assert names("**/*.webp") == ["sub/c.webp"]
    assert names("[1].jpg", "notes.txt") == ["[1].jpg", "notes.txt"]
    with pytest.raises(DataError, match="No picture or video matches '.*nowhere'"):
        names("nowhere")
