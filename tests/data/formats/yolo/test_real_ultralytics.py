"""Ultralytics' own reader sees in what is written the same as ours. Skipped where it is not installed."""

from __future__ import annotations

import importlib
import importlib.util
import os
from pathlib import Path

import numpy as np
import pytest

from cardamage.data.annotations.report import AnnotationReport
from cardamage.data.formats.conversion.convert import ConvertOptions, convert
from cardamage.data.formats.registry import ReadOptions, read_annotations
from tests.support.paths import SHARED_DATA

pytestmark = [
    pytest.mark.skipif(
        importlib.util.find_spec("ultralytics") is None, reason="ultralytics is not installed"
    ),
    pytest.mark.skipif(not SHARED_DATA.is_dir(), reason="the real photographs are not here"),
]

# Its numbers are of 32 bits.
PIXELS = 0.02


@pytest.mark.parametrize(
    ("source", "split"), [("damage-coco", ()), ("damage-labelme/label", (0.7, 0.2, 0.1))]
)
def test_ultralytics_reads_the_same(
    source: str, split: tuple[float, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("YOLO_CONFIG_DIR", str(tmp_path))
    monkeypatch.setenv("YOLO_OFFLINE", "true")
    done = convert([SHARED_DATA / source], tmp_path / "set", "yolo", ConvertOptions(split=split))
    assert done.written.notes == []
    (file,) = done.written.files
    described = importlib.import_module("ultralytics.data.utils").check_det_dataset(
        str(file), autodownload=False
    )
    ours = read_annotations(file, "yolo", ReadOptions(), AnnotationReport("x"))
    assert list(described["names"].values()) == ours.classes
    images = {os.path.abspath(image.source): image for image in ours.images}
    dataset = importlib.import_module("ultralytics.data.dataset").YOLODataset
    for part in ("train", "val", "test"):
        for read in dataset(img_path=described[part], data=described, task="segment", augment=False).labels:
            image = images.pop(os.path.abspath(read["im_file"]))
            assert tuple(read["shape"]) == (image.height, image.width)
            numbers = read["cls"].reshape(-1).astype(int)
            assert [ours.classes[number] for number in numbers] == [raw.label for raw in image.annotations]
            scale = np.array([image.width, image.height])
            for box, raw in zip(read["bboxes"], image.annotations, strict=True):
                points = np.concatenate([np.reshape(polygon, (-1, 2)) for polygon in raw.polygons or []])
                low, high = points.min(axis=0), points.max(axis=0)
                np.testing.assert_allclose(box[:2] * scale, (low + high) / 2, atol=PIXELS)
                np.testing.assert_allclose(box[2:] * scale, high - low, atol=PIXELS)
    assert not images
