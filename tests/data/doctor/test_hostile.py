"""Any bytes give findings or our own exception."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cardamage.data.doctor import find_all, read_sources
from cardamage.data.doctor.repair import write_repaired
from cardamage.data.doctor.reporting import as_json, as_text
from cardamage.errors import CardamageError, DataError

odd = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 3),
    st.sampled_from(
        [
            1e308,
            -1e308,
            float("nan"),
            float("inf"),
            10**400,
            "",
            "\ud800",
            "\0",
            "x" * 300,
            "1",
            "x",
            "../../etc/passwd",
        ]
    ),
    st.lists(st.one_of(st.none(), st.floats(-200, 200), st.text(max_size=2)), max_size=7),
    st.lists(st.lists(st.floats(-200, 200), min_size=0, max_size=8), max_size=3),
    st.dictionaries(
        st.sampled_from(["size", "counts", "0", "name"]), st.integers(-2, 9) | st.text(max_size=3)
    ),
)
fast = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))


@contextmanager
def folder() -> Iterator[Path]:
    """A fresh folder for each example, with a picture."""
    path = Path(tempfile.mkdtemp())
    cv2.imwrite(str(path / "a.jpg"), np.random.default_rng(0).integers(0, 255, (40, 50, 3), np.uint8))
    try:
        yield path
    finally:
        shutil.rmtree(path)


def examine(source: Path) -> None:
    """Check, report and repair."""
    try:
        subject = read_sources([source], threads=1)
    except CardamageError:
        return
    findings = find_all(subject)
    json.dumps(as_json(subject, findings))
    as_text(subject, findings)
    with tempfile.TemporaryDirectory() as target:
        write_repaired(subject, Path(target) / "copy")


def fields(*names: str) -> st.SearchStrategy[dict[str, Any]]:
    return st.dictionaries(st.sampled_from(names), odd, max_size=3)


@fast
@given(
    fields("id", "image_id", "category_id", "segmentation", "bbox", "area", "iscrowd"), fields("id", "name")
)
def test_coco_annotations(annotation: dict[str, Any], category: dict[str, Any]) -> None:
    good = {
        "id": 1,
        "image_id": 1,
        "category_id": 1,
        "bbox": [1, 1, 9, 9],
        "segmentation": [[1, 1, 9, 1, 5, 9]],
    }
    content = {
        "images": [{"id": 1, "file_name": "a.jpg", "height": 40, "width": 50}],
        "annotations": [good, {**good, **annotation}],
        "categories": [{"id": 1, "name": "dent"}, {"id": 2, "name": "x", **category}],
    }
    with folder() as path:
        (path / "coco.json").write_text(json.dumps(content))
        examine(path)


@fast
@given(fields("images", "annotations", "categories"), fields("id", "file_name", "height", "width", "path"))
def test_coco_images(lists: dict[str, Any], image: dict[str, Any]) -> None:
    images = [{"id": 1, "file_name": "a.jpg", "height": 40, "width": 50, **image}]
    with folder() as path:
        content = {"images": images, "annotations": [], "categories": [], **lists}
        (path / "coco.json").write_text(json.dumps(content))
        examine(path)


@fast
@given(
    fields("label", "points", "shape_type", "group_id", "mask"),
    fields("shapes", "imagePath", "imageData", "imageHeight", "imageWidth"),
    st.sampled_from(["polygon", "rectangle", "circle", "mask", "linestrip", "line", "point"]),
)
def test_labelme(shape: dict[str, Any], rest: dict[str, Any], kind: str) -> None:
    one = {"label": "dent", "points": [[1, 1], [30, 8]], "shape_type": kind, **shape}
    with folder() as path:
        (path / "a.json").write_text(json.dumps({"shapes": [one], "imagePath": "a.jpg", **rest}))
        examine(path)


@fast
@given(
    fields("name", "all_points_x", "all_points_y", "x", "width", "cx", "r", "rx", "theta"),
    fields("filename", "regions", "size"),
    st.sampled_from(["polygon", "polyline", "rect", "circle", "ellipse"]),
)
def test_via(shape: dict[str, Any], entry: dict[str, Any], kind: str) -> None:
    base = {"name": kind, "x": 1, "y": 2, "width": 9, "height": 9, "cx": 9, "cy": 9, "r": 4, "rx": 3, "ry": 3}
    region = {"shape_attributes": {**base, **shape}, "region_attributes": {"c": "dent"}}
    content = {
        "a": {"filename": "a.jpg", "regions": [region], **entry},
        "b": {"filename": "a.jpg", "regions": []},
    }
    with folder() as path:
        (path / "via.json").write_text(json.dumps(content))
        examine(path)


@fast
@given(st.text("0123456789.-e \nnaif", max_size=60), fields("names", "train", "val", "path", "nc"))
def test_yolo(rows: str, content: dict[str, Any]) -> None:
    with folder() as path:
        (path / "images").mkdir()
        (path / "labels").mkdir()
        (path / "a.jpg").rename(path / "images" / "a.jpg")
        (path / "labels" / "a.txt").write_text(rows)
        (path / "data.yaml").write_text(json.dumps({"names": ["dent"], **content}))
        examine(path)


@fast
@given(st.binary(max_size=200), st.sampled_from(["a.json", "a.csv", "data.yaml", "labels/a.txt", "a.jpg"]))
def test_any_bytes(data: bytes, name: str) -> None:
    with folder() as path:
        (path / "labels").mkdir()
        (path / name).write_bytes(data)
        if name.endswith(".csv"):
            (path / name).write_bytes(b"filename,region_shape_attributes\n" + data)
        (path / "ok.json").write_text(json.dumps({"shapes": [], "imagePath": "a.jpg"}))
        examine(path)


@pytest.mark.parametrize("encoding", ["utf-16", "latin-1", "utf-8-sig"])
def test_encodings(tmp_path: Path, encoding: str) -> None:
    text = json.dumps({"shapes": [], "imagePath": "é.jpg"}, ensure_ascii=False)
    (tmp_path / "a.json").write_text(text, encoding=encoding)
    (tmp_path / "b.json").write_text(text, encoding="utf-8")
    examine(tmp_path)


def test_folders_in_place_of_files(tmp_path: Path) -> None:
    for name in ("a.json", "b.csv", "labels/a.txt", "images/a.jpg", "data.yaml"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "ok.json").write_text(json.dumps({"shapes": [], "imagePath": "images/a.jpg"}))
    examine(tmp_path)


def test_deep_nesting(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("[" * 100_000)
    (tmp_path / "b.json").write_text('{"shapes":' + "[" * 100_000)
    subject = read_sources([tmp_path])
    assert [finding.check.code for finding in find_all(subject)] == ["D001"]


def test_names_that_grow_are_not_written_out(tmp_path: Path) -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 12)]
    (tmp_path / "data.yaml").write_text("\n".join([*lines, "names: [*a11]", "train: *a11", "path: *a11"]))
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels" / "a.txt").write_text("0 0.5 0.5 0.1 0.1")
    find_all(read_sources([tmp_path]))


def test_a_link_out_of_the_set_is_not_copied(tmp_path: Path) -> None:
    (tmp_path / "secret.txt").write_text("secret")
    source = tmp_path / "set"
    source.mkdir()
    (source / "a.json").write_text(json.dumps({"shapes": [], "imagePath": "a.jpg"}))
    (source / "notes.txt").symlink_to(tmp_path / "secret.txt")
    (source / "fine.txt").write_text("fine")
    write_repaired(read_sources([source]), tmp_path / "copy")
    assert sorted(p.name for p in (tmp_path / "copy").iterdir()) == ["fine.txt", "repairs.txt"]


def test_paths_longer_than_a_name_can_be(tmp_path: Path) -> None:
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels" / "a.txt").write_text("0 0.5 0.5 0.1 0.1")
    (tmp_path / "data.yaml").write_text(
        json.dumps({"names": ["dent"], "train": "x" * 300, "path": "y" * 300})
    )
    assert "D312" in {finding.check.code for finding in find_all(read_sources([tmp_path]))}


def test_nothing_to_read_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "x.txt").write_text("x")
    with pytest.raises(DataError, match="no annotation file"):
        read_sources([tmp_path / "x.txt"])
