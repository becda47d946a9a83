"""The real Labelme opens every file that is written. Skipped where it is not installed."""

from __future__ import annotations

import base64
import importlib.util
import io
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from cardamage.data.annotations.checks import RawAnnotation
from cardamage.data.annotations.report import AnnotationReport
from cardamage.data.formats.dataset import AnnotatedDataset, AnnotatedImage
from cardamage.data.formats.labelme import write
from cardamage.data.formats.registry import ReadOptions, WriteOptions, read_annotations
from tests.support.paths import SHARED_DATA

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("labelme") is None, reason="labelme is not installed"
)

SQUARE = np.array([[10, 10], [20, 10], [20, 20], [10, 20]], float)


def opened(files: list[Path]) -> list[list[Any]]:
    """What Labelme's reader and its window hold of each file."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith("QT_")}
    done = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("open_in_labelme.py"))],
        input="".join(f"{file}\n" for file in files),
        env={**environment, "QT_QPA_PLATFORM": "offscreen"},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    found: list[list[Any]] = json.loads(done.stdout.splitlines()[-1])
    return found


def assert_open(folder: Path) -> None:
    files = sorted(folder.rglob("*.json"))
    assert files
    for file, (by_reader, in_window) in zip(files, opened(files), strict=True):
        shapes = json.loads(file.read_text())["shapes"]
        expected = [[s["label"], s["shape_type"], s["group_id"]] for s in shapes]
        assert by_reader == expected, file
        assert in_window == expected, file


def test_every_kind_of_shape(tmp_path: Path) -> None:
    patch = np.random.default_rng(0).random((9, 12)) > 0.4
    file = io.BytesIO()
    Image.fromarray(patch).save(file, "PNG")
    mask = base64.b64encode(file.getvalue()).decode()
    kinds = {
        "polygon": SQUARE.tolist(),
        "rectangle": [[12, 3], [2, 9.5]],
        "circle": [[30, 20], [37, 20]],
        "linestrip": [[5, 5], [30, 8], [40, 30]],
        "line": [[5, 35], [50, 36]],
        "mask": [[5, 7], [16, 15]],
    }
    shapes = [
        {"label": kind, "points": points, "shape_type": kind, "group_id": None, "flags": {"old": True}}
        for kind, points in kinds.items()
    ]
    shapes[-1]["mask"] = mask
    source = {"version": "5.5.0", "flags": {"done": True}, "shapes": shapes, "imagePath": "a.jpg"}
    source |= {"imageData": None, "imageHeight": 40, "imageWidth": 60, "weather": "rain"}
    (tmp_path / "in").mkdir()
    (tmp_path / "in/a.json").write_text(json.dumps(source))
    Image.new("RGB", (60, 40)).save(tmp_path / "in/a.jpg")
    dataset = read_annotations(tmp_path / "in", "labelme")
    for name, embed in (("beside", False), ("inside", True)):
        write(dataset, tmp_path / name, WriteOptions("copy", embed=embed), AnnotationReport("x"))
        written = json.loads((tmp_path / name / "a.json").read_text())
        assert [s["shape_type"] for s in written["shapes"]] == list(kinds)
        assert_open(tmp_path / name)


def test_what_comes_from_other_formats(tmp_path: Path) -> None:
    for name, exif in (("a.jpg", 6), ("b.png", 1)):
        orientation = Image.Exif()
        orientation[0x0112] = exif
        Image.new("RGB", (60, 40)).save(tmp_path / name, exif=orientation)
    annotations = [
        RawAnnotation("box", bbox=[1, 2, 9, 8], label="dent"),
        RawAnnotation("far", polygons=[SQUARE, SQUARE + 100], label="rayé", iscrowd=1),
        RawAnnotation("runs", rle={"size": [60, 40], "counts": [100, 20, 2280]}, label="dent"),
        RawAnnotation(
            "odd", polygons=[SQUARE[:2]], label="dent", extra={"flags": {"a": 1}, "description": 3}
        ),
        RawAnnotation("group", polygons=[SQUARE], label="dent", extra={"group_id": "left", "score": 0.5}),
        RawAnnotation("turned", polygons=[SQUARE], label="dent", extra={"shape_type": "rectangle"}),
    ]
    images = [
        AnnotatedImage("a.jpg", str(tmp_path / "a.jpg"), 60, 40, annotations, extra={"id": 3, "flags": [1]}),
        AnnotatedImage("b.png", str(tmp_path / "b.png"), 99, 99, annotations[:2]),
    ]
    dataset = AnnotatedDataset("src", "coco", ["dent", "rayé"], images)
    for pictures, embed in (("copy", False), ("keep", False), ("copy", True)):
        folder = tmp_path / f"{pictures}{embed}"
        write(dataset, folder, WriteOptions(pictures, embed=embed), AnnotationReport("x"))
        assert_open(folder)


@pytest.mark.skipif(not SHARED_DATA.is_dir(), reason="the real photographs are not here")
@pytest.mark.parametrize(
    ("source", "format"),
    [
        ("damage-labelme", "labelme"),
        ("damage-coco/test/_annotations.coco.json", "coco"),
        ("carparts/testset/annotations.json", "coco"),
    ],
)
def test_real_sets(source: str, format: str, tmp_path: Path) -> None:
    dataset = read_annotations(SHARED_DATA / source, format, ReadOptions(), AnnotationReport("x"))
    write(dataset, tmp_path / "out", WriteOptions("copy"), AnnotationReport("x"))
    assert_open(tmp_path / "out")
