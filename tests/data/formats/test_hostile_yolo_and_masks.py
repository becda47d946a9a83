"""Any bytes, and good files with some bytes changed: read, or refused with a sentence."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from cardamage.data.annotations.report import AnnotationReport
from cardamage.data.formats import masks, yolo
from cardamage.data.formats.dataset import to_dicts
from cardamage.data.formats.registry import ReadOptions, read_annotations
from cardamage.errors import CardamageError, DataError

SIZE = (20, 30)
QUIET = settings(
    deadline=None,
    max_examples=60,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
YAML = (
    b"path: .\ntrain: images\nval: [images, ../images]\ntest: test.txt\nnc: 2\nnames: {0: dent, 1: scratch}\n"
)
ROWS = b"0 0.1 0.1 0.5 0.1 0.5 0.5\n1 0.5 0.5 0.5 0.5\n"

# Pieces that mean something to a parser, among any others.
pieces = st.sampled_from(
    [
        b"\x00",
        b"\xff\xfe",
        b"\xef\xbb\xbf",
        b"..",
        b"/",
        b"[",
        b"{",
        b"*a",
        b"&a ",
        b"!!python/name:os.system ",
        b"nan",
    ]
    + [
        b"1e308",
        b"-1",
        b"\n",
        b"\t",
        b": ",
        b"- ",
        b"'",
        b"9" * 5000,
        b"a/" * 3000,
        b"\xe9",
        b"<<: ",
        b"inf",
        b"\r",
    ]
)


@st.composite
def mutated(draw: st.DrawFn, good: bytes) -> bytes:
    """A good file with pieces put in, bytes changed or its end cut off; or any bytes at all."""
    if draw(st.integers(0, 9)) == 0:
        return draw(st.binary(max_size=300))
    data = bytearray(good)
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(data)))
        kind = draw(st.sampled_from(["put", "change", "cut", "drop"]))
        if kind == "put":
            data[at:at] = draw(pieces)
        elif kind == "change" and at < len(data):
            data[at] = draw(st.integers(0, 255))
        elif kind == "cut":
            del data[at:]
        elif kind == "drop":
            del data[at : at + draw(st.integers(1, 20))]
    return bytes(data)


def outcome(folder: Path, format: str) -> str | None:
    """None where it was read; the sentence where it was refused."""
    assert {"yolo": yolo, "masks": masks}[format].recognize(folder) in (True, False)
    try:
        dataset = read_annotations(folder, format, ReadOptions(), AnnotationReport("x"))
        to_dicts(dataset, report=AnnotationReport("x"))
    except CardamageError as error:
        return str(error)
    return None


def image_file(path: Path) -> bytes:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.zeros((*SIZE, 3), dtype=np.uint8)).save(path)
    return path.read_bytes()


@pytest.fixture
def yolo_set(tmp_path: Path) -> Path:
    image_file(tmp_path / "images/a.png")
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels/a.txt").write_bytes(ROWS)
    (tmp_path / "data.yaml").write_bytes(YAML)
    (tmp_path / "test.txt").write_bytes(b"images/a.png\n")
    assert outcome(tmp_path, "yolo") is None
    return tmp_path


@QUIET
@given(data=st.data())
@pytest.mark.parametrize("name", ["data.yaml", "labels/a.txt", "test.txt", "images/a.png"])
def test_yolo(yolo_set: Path, name: str, data: st.DataObject) -> None:
    path = yolo_set / name
    good = path.read_bytes()
    path.write_bytes(data.draw(mutated(good)))
    try:
        outcome(yolo_set, "yolo")
    finally:
        path.write_bytes(good)


@QUIET
@given(data=st.data())
@pytest.mark.parametrize("name", ["obj.data", "obj.names", "notes.json"])
def test_yolo_without_yaml(yolo_set: Path, name: str, data: st.DataObject) -> None:
    (yolo_set / "data.yaml").unlink(missing_ok=True)
    good = {
        "obj.data": b"classes = 2\ntrain = test.txt\nnames = obj.names\n",
        "obj.names": b"dent\nscratch\n",
        "notes.json": b'{"categories": [{"id": 0, "name": "dent"}, {"id": 1, "name": "scratch"}]}',
    }
    for other in good if name != "notes.json" else [name]:
        (yolo_set / other).write_bytes(good[other])
    (yolo_set / name).write_bytes(data.draw(mutated(good[name])))
    outcome(yolo_set, "yolo")


def test_ids_of_names_beyond_any_number(yolo_set: Path) -> None:
    (yolo_set / "data.yaml").unlink(missing_ok=True)
    for number in ("1e999", "NaN", '"x"'):
        (yolo_set / "notes.json").write_text(f'{{"categories": [{{"id": {number}, "name": "dent"}}]}}')
        with pytest.raises(DataError, match="has no list of 'categories'"):
            read_annotations(yolo_set, "yolo")


def masks_in(folder: Path, name: str) -> Iterator[Path]:
    image_file(folder / "images/a.png")
    values = np.zeros(SIZE, dtype=np.uint8)
    values[2:5, 3:9], values[10:, 10:] = 1, 2
    (folder / "masks/a").mkdir(parents=True, exist_ok=True)
    path = folder / name
    if path.suffix == ".png":
        Image.fromarray(values).save(path)
    else:
        Image.fromarray(values).save(folder / "masks/a.png")
    yield path


GOOD = {
    "classes.txt": b"background\ndent\nscratch\n",
    "classes.json": b'{"1": "dent", "2": "scratch"}',
    "labelmap.txt": b"background:0,0,0::\ndent:1,1,1::\nscratch:2,2,2::\n",
    "_classes.csv": b"Pixel Value, Class\n0, background\n1, dent\n2, scratch\n",
}


@QUIET
@given(data=st.data())
@pytest.mark.parametrize("name", [*GOOD, "masks/a.png", "masks/a/1_dent.png"])
def test_masks(tmp_path: Path, name: str, data: st.DataObject) -> None:
    shutil.rmtree(tmp_path)
    tmp_path.mkdir()
    (path,) = masks_in(tmp_path, name)
    if name == "masks/a.png":
        (tmp_path / "classes.txt").write_bytes(GOOD["classes.txt"])
    good = GOOD.get(name) or path.read_bytes()
    path.write_bytes(good)
    assert outcome(tmp_path, "masks") is None
    path.write_bytes(data.draw(mutated(good)))
    outcome(tmp_path, "masks")


@pytest.mark.parametrize("name", ["data.yaml", "labels/a.txt", "images/a.png", "labels", "images"])
def test_folders_and_links_where_files_should_be(yolo_set: Path, name: str) -> None:
    path = yolo_set / name
    moved = yolo_set / "moved"
    path.rename(moved)
    path.mkdir()
    outcome(yolo_set, "yolo")
    path.rmdir()
    path.symlink_to(path)
    outcome(yolo_set, "yolo")
    path.unlink()
    path.write_bytes(b"")
    outcome(yolo_set, "yolo")


def test_files_that_are_far_too_long(yolo_set: Path) -> None:
    for name, what in (("data.yaml", "YOLO file"), ("labels/a.txt", "label file")):
        good = (yolo_set / name).read_bytes()
        with open(yolo_set / name, "r+b") as file:
            file.truncate(1 << 30)
        assert f"The {what} {yolo_set / name} is larger than" in str(outcome(yolo_set, "yolo"))
        (yolo_set / name).write_bytes(good)
