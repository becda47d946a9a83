"""The command as a user runs it."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from tests.support.labelme_files import SQUARE, shape, write_labelled_photo, write_labelme
from tests.support.paths import REPOSITORY

Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    for i in range(10):
        write_labelled_photo(folder / f"{i}.json", shape(label="scratch" if i % 5 else "dent"), red=i * 20)
    return folder


@pytest.fixture
def run(run_script: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return partial(run_script, REPOSITORY / "tools/labelme2coco.py")


def test_split_table_and_files(run: Run, photos: Path, tmp_path: Path) -> None:
    write_labelme(photos / "3.json", shape(label="scratch"), shape(SQUARE[:2]))
    done = run(photos, "-o", tmp_path / "coco", "--split", 0.8, 0.2, "--seed", 1)
    assert done.returncode == 0, done.stderr
    lines = [line.split() for line in done.stdout.splitlines()]
    assert ["class", "train", "val"] in lines
    assert ["objects", "8", "2"] in lines
    assert ["images", "8", "2"] in lines
    assert f"{photos}/3.json, shape 1 ('dent'): dropped, its polygon has 2 points and needs 3." in done.stdout
    train, val = tmp_path / "coco/annotations/train.json", tmp_path / "coco/annotations/val.json"
    assert f"coco:{val}@{photos}" in done.stdout
    coco = json.loads(train.read_text())
    assert [c["name"] for c in coco["categories"]] == ["dent", "scratch"]
    assert all((photos / image["file_name"]).is_file() for image in coco["images"])
    assert sorted(p.name for p in train.parent.iterdir()) == ["train.json", "val.json"]


def test_a_second_run_gives_the_same(run: Run, photos: Path, tmp_path: Path) -> None:
    written = []
    for flags in (["--no-cache"], [], [], ["--workers", 1]):
        assert run(photos, "-o", tmp_path / "coco", "--split", 0.5, 0.5, *flags).returncode == 0
        assert (tmp_path / "cache").exists() == (not flags or bool(written[1:]))
        written.append([path.read_bytes() for path in sorted((tmp_path / "coco/annotations").iterdir())])
    assert all(files == written[0] for files in written)


def test_order_of_classes_from_a_file(run: Run, photos: Path, tmp_path: Path) -> None:
    labels = tmp_path / "labels.txt"
    labels.write_text("__ignore__\nscratch\n\ndent\n")
    assert run(photos, "-o", tmp_path / "coco", "--labels", labels).returncode == 0
    coco = json.loads((tmp_path / "coco/annotations/all.json").read_text())
    assert coco["categories"] == [{"id": 1, "name": "scratch"}, {"id": 2, "name": "dent"}]


def test_bad_input_is_one_sentence(run: Run, photos: Path, tmp_path: Path) -> None:
    for i in (2, 7):
        (photos / f"{i}.jpg").unlink()
    done = run(photos, "-o", tmp_path / "coco")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == (
        f"error: 2 of 10 images do not exist: {photos}/2.jpg, {photos}/7.jpg; "
        "put them there, or correct their paths."
    )
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "coco").exists()


def test_width_of_lines_that_is_none(run: Run, photos: Path, tmp_path: Path) -> None:
    done = run(photos, "-o", tmp_path / "coco", "--line-width", "-3")
    assert done.returncode == 1
    assert done.stderr == "error: --line-width must be above 0, not -3.\n"
