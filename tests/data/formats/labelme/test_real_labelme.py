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


def opened(files: list[Path], targets: list[Path] | None = None) -> list[list[Any]]:
    """What Labelme's reader and its window hold of each file; with targets, each is saved there."""
    lines = [str(file) for file in files]
    if targets is not None:
        lines = [f"{line}\t{target}" for line, target in zip(lines, targets, strict=True)]
    environment = {key: value for key, value in os.environ.items() if not key.startswith("QT_")}
    done = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("open_in_labelme.py"))],
        input="".join(f"{line}\n" for line in lines),
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


def every_kind(folder: Path) -> Path:
    """A folder with one picture, and a shape of each kind that Labelme 5.4 knows."""
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
    shapes[0] |= {"description": 'small, "round" and rayé', "checked_by": ["A", 2]}
    shapes[3] |= {"line_width": 7}
    shapes[-1]["mask"] = mask
    shapes += [
        {"label": "parts", "points": (SQUARE + shift).tolist(), "shape_type": "polygon", "group_id": 4}
        for shift in (0, 15)
    ]
    source = {"version": "5.5.0", "flags": {"done": True, "dark": False}, "shapes": shapes}
    source |= {
        "imagePath": "a.jpg",
        "imageData": None,
        "imageHeight": 40,
        "imageWidth": 60,
        "weather": "rain",
    }
    folder.mkdir()
    (folder / "a.json").write_text(json.dumps(source))
    Image.new("RGB", (60, 40)).save(folder / "a.jpg")
    return folder


def test_every_kind_of_shape(tmp_path: Path) -> None:
    dataset = read_annotations(every_kind(tmp_path / "in"), "labelme")
    for name, embed in (("beside", False), ("inside", True)):
        write(dataset, tmp_path / name, WriteOptions("copy", embed=embed), AnnotationReport("x"))
        written = json.loads((tmp_path / name / "a.json").read_text())
        kinds = [shape["shape_type"] for shape in written["shapes"]]
        assert kinds == ["polygon", "rectangle", "circle", "linestrip", "line", "mask", "polygon", "polygon"]
        assert_open(tmp_path / name)


def objects(folder: Path) -> list[tuple[Any, ...]]:
    """All that is read of a folder's objects, and of its images."""
    found: list[tuple[Any, ...]] = []
    for image in read_annotations(folder, "labelme", ReadOptions(), AnnotationReport("x")).images:
        found.append((image.name, image.height, image.width, image.extra))
        for raw in image.annotations:
            outline = raw.rle and (raw.rle["size"], raw.rle["counts"])
            points = raw.polygons and [np.asarray(polygon).tolist() for polygon in raw.polygons]
            found.append((raw.label, points, outline, raw.bbox, raw.iscrowd, raw.extra))
    return found


@pytest.mark.parametrize("embed", [False, True])
def test_what_labelme_saves_is_read_as_it_was_written(embed: bool, tmp_path: Path) -> None:
    dataset = read_annotations(every_kind(tmp_path / "in"), "labelme")
    write(dataset, tmp_path / "out", WriteOptions("copy", embed=embed), AnnotationReport("x"))
    file = tmp_path / "out/a.json"
    before, text = objects(file.parent), file.read_text()
    assert len(before) == 1 + 7
    opened([file], [file])
    assert file.read_text() != text
    assert objects(file.parent) == before


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
