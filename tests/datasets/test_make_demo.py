from __future__ import annotations

import itertools
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

MAKER = Path(__file__).resolve().parents[2] / "datasets" / "make_demo.py"
CLASSES = {"dent", "scratch", "crack", "glass_shatter", "lamp_broken", "tire_flat"}

Annotations = list[dict[str, Any]]


def draw(output: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(MAKER), "--output", str(output), *options]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def corners(shape: dict[str, Any]) -> np.ndarray:
    points = np.array(shape["points"], dtype=np.float64)
    if shape["shape_type"] == "polygon":
        return points
    (x0, y0), (x1, y1) = points
    return np.array([(x0, y0), (x1, y0), (x1, y1), (x0, y1)])


def filled(shape: dict[str, Any], height: int, width: int) -> np.ndarray:
    mask = np.zeros((height, width), np.uint8)
    cv2.fillPoly(mask, [np.round((corners(shape) - 0.5) * 16).astype(np.int32)], 1, shift=4)
    return mask.astype(bool)


@pytest.mark.parametrize("seed", ["0", "7"])
def test_same_seed_draws_the_same_bytes(tmp_path: Path, seed: str) -> None:
    for name in ("a", "b"):
        assert draw(tmp_path / name, "--num", "3", "--seed", seed).returncode == 0
    first, second = (sorted((tmp_path / name).iterdir()) for name in ("a", "b"))
    assert [p.name for p in first] == [p.name for p in second]
    assert all(p.read_bytes() == q.read_bytes() for p, q in zip(first, second, strict=True))


def test_another_seed_draws_another_set(tmp_path: Path, demo_set: Path) -> None:
    assert draw(tmp_path, "--num", "1", "--seed", "1").returncode == 0
    name = "car_0001.jpg"
    assert (tmp_path / name).read_bytes() != (demo_set / name).read_bytes()


def test_a_picture_does_not_depend_on_how_many_are_drawn(tmp_path: Path, demo_set: Path) -> None:
    assert draw(tmp_path, "--num", "2").returncode == 0
    for path in tmp_path.iterdir():
        assert path.read_bytes() == (demo_set / path.name).read_bytes()


def test_every_picture_has_its_annotation(demo_set: Path, annotations: Annotations) -> None:
    pictures = sorted(demo_set.glob("*.jpg"))
    assert len(pictures) == len(annotations) == 60
    for picture, content in zip(pictures, annotations, strict=True):
        image = cv2.imread(str(picture))
        assert image is not None
        assert image.shape == (content["imageHeight"], content["imageWidth"], 3) == (256, 384, 3)
        assert content["imagePath"] == picture.name
        assert content["imageData"] is None
        assert re.fullmatch(r"5\.\d+\.\d+", content["version"])
        assert content["flags"] == {}


def test_shapes_are_valid_and_inside_the_picture(annotations: Annotations) -> None:
    for content in annotations:
        for shape in content["shapes"]:
            points = np.array(shape["points"])
            assert shape["label"] in CLASSES
            assert shape["shape_type"] in {"polygon", "rectangle"}
            assert len(points) >= 3 if shape["shape_type"] == "polygon" else len(points) == 2
            assert points.min() >= 0
            assert (points <= [content["imageWidth"], content["imageHeight"]]).all()
            assert cv2.contourArea(corners(shape).astype(np.float32)) >= 6
            assert (points != np.roll(points, 1, axis=0)).any(axis=1).all()


def crosses_itself(points: np.ndarray) -> bool:
    """Tell whether two edges that are not neighbours cross."""
    a, b = points, np.roll(points, -1, axis=0)

    def turn(p: np.ndarray, q: np.ndarray, r: np.ndarray) -> np.ndarray:
        u, v = q - p, r - p
        return np.sign(u[..., 0] * v[..., 1] - u[..., 1] * v[..., 0])

    a_i, b_i, a_j, b_j = a[:, None], b[:, None], a[None], b[None]
    apart = turn(a_i, b_i, a_j) * turn(a_i, b_i, b_j) < 0
    return bool((apart & apart.T).any())


def test_outlines_do_not_cross_themselves(annotations: Annotations) -> None:
    crossed = [
        (content["imagePath"], shape["label"])
        for content in annotations
        for shape in content["shapes"]
        if crosses_itself(corners(shape))
    ]
    assert crossed == []


def test_all_classes_and_kinds_of_shape_are_there(annotations: Annotations) -> None:
    shapes = [shape for content in annotations for shape in content["shapes"]]
    assert {shape["label"] for shape in shapes} == CLASSES
    assert {shape["shape_type"] for shape in shapes} == {"polygon", "rectangle"}
    counts = {label: sum(s["label"] == label for s in shapes) for label in CLASSES}
    assert min(counts.values()) >= 10, counts


def test_some_pictures_are_empty_and_others_hold_several(annotations: Annotations) -> None:
    sizes = [len(content["shapes"]) for content in annotations]
    assert 1 <= sizes.count(0) <= len(sizes) * 0.2
    assert sum(size >= 3 for size in sizes) > len(sizes) / 2


def test_some_damages_overlap(annotations: Annotations) -> None:
    overlaps = 0
    for content in annotations:
        size = content["imageHeight"], content["imageWidth"]
        masks = [filled(shape, *size) for shape in content["shapes"]]
        overlaps += any((a & b).any() for a, b in itertools.combinations(masks, 2))
    assert overlaps >= 4


def test_pieces_of_one_crack_share_a_group(annotations: Annotations) -> None:
    grouped = 0
    for content in annotations:
        ids = [shape["group_id"] for shape in content["shapes"] if shape["group_id"] is not None]
        grouped += len(ids)
        assert all(ids.count(group) >= 2 for group in ids)
        for group in set(ids):
            assert {s["label"] for s in content["shapes"] if s["group_id"] == group} == {"crack"}
    assert grouped >= 2


def test_some_scratches_are_long_and_thin(annotations: Annotations) -> None:
    thin = 0
    for shape in (s for content in annotations for s in content["shapes"] if s["label"] == "scratch"):
        points = corners(shape).astype(np.float32)
        length = cv2.arcLength(points, True) / 2
        thin += length > 30 and cv2.contourArea(points) / length < 4.2
    assert thin >= 3


def test_an_outline_stops_where_the_drawing_stops(demo_set: Path, annotations: Annotations) -> None:
    """A shattered pane is brighter inside its outline than in a band around it."""
    differences = []
    for picture, content in zip(sorted(demo_set.glob("*.jpg")), annotations, strict=True):
        grey = cv2.cvtColor(cv2.imread(str(picture)), cv2.COLOR_BGR2GRAY).astype(float)
        for shape in (s for s in content["shapes"] if s["label"] == "glass_shatter"):
            inside = filled(shape, *grey.shape)
            around = cv2.dilate(inside.astype(np.uint8), np.ones((7, 7))).astype(bool) & ~inside
            differences.append(grey[inside].mean() - grey[around].mean())
    assert np.median(differences) > 25


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--num", "0"], "--num must be 1 or more"),
        (["--seed", "-1"], "--seed 0 or more"),
        (["--width", "64"], "--width and --height 128 or more"),
    ],
)
def test_wrong_options_are_refused(tmp_path: Path, options: list[str], sentence: str) -> None:
    done = draw(tmp_path, *options)
    assert done.returncode == 2
    assert sentence in done.stderr


def test_unwritable_output_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = draw(tmp_path / "file", "--num", "1")
    assert done.returncode == 1
    assert done.stderr == (
        f"error: cannot write the demo set to {tmp_path / 'file'} (File exists); give another --output.\n"
    )
    assert "Traceback" not in done.stderr


def test_other_sizes_are_drawn(tmp_path: Path) -> None:
    assert draw(tmp_path, "--num", "1", "--width", "480", "--height", "320").returncode == 0
    assert cv2.imread(str(tmp_path / "car_0001.jpg")).shape == (320, 480, 3)
