"""A conversion from a cache gives what a conversion without one gives, whatever happened in between."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from cardamage.data.annotations.report import AnnotationReport
from cardamage.data.formats.conversion.convert import ConvertOptions, convert
from cardamage.data.formats.labelme import pool as labelme_pool
from cardamage.data.formats.labelme import reading as labelme_reading
from cardamage.data.formats.registry import ReadOptions, WriteOptions, read_annotations, write_annotations
from cardamage.data.formats.shared import keeping
from cardamage.errors import DataError

SQUARE = [[10, 10], [20.5, 10], [20, 20], [10, 20]]
CROSSING = [[5, 5], [30, 30], [30, 5], [5, 30]]
OUTSIDE = [[-10, 5], [30, 5], [30, 30]]
POINT = [[3, 3]]


def put(path: Path, *outlines: list[list[float]], **changes: Any) -> None:
    kinds = ["dent", "rayé", "crack"]
    shapes = [
        {"label": kinds[i % 3], "points": points, "group_id": 1 if i > 1 else None, "flags": {"x": i == 1}}
        for i, points in enumerate(outlines)
    ]
    content = {"version": "5.5.0", "shapes": shapes, "imagePath": f"{path.stem}.jpg", "imageData": None}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({**content, "imageHeight": 40, "imageWidth": 60, **changes}))


@pytest.fixture
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that counts as large, of files that count as old."""
    monkeypatch.setattr(keeping, "SAME_MOMENT", 0)
    for module in (labelme_reading, labelme_pool):
        monkeypatch.setattr(module, "FILES_IN_BLOCK", 4)
        monkeypatch.setattr(module, "FEW", 6)
    folder = tmp_path / "photos"
    for i in range(22):
        outlines = [SQUARE, CROSSING, OUTSIDE, SQUARE, POINT][: i % 6]
        put(folder / f"{i % 2}" / f"{i}.json", *outlines, **({"weather": "rain"} if i == 4 else {}))
        Image.new("RGB", (60, 40), (i * 10, 0, 0)).save(folder / f"{i % 2}" / f"{i}.jpg")
    picture = base64.b64encode((folder / "0/6.jpg").read_bytes()).decode()
    put(folder / "alone.json", SQUARE, imageData=picture)
    return folder


def result(
    source: Path, target: Path, cache: Path | None, workers: int = 1, **options: Any
) -> dict[str, Any]:
    """All that a conversion gives, or the sentence that it ends with."""
    read = ReadOptions(cache=cache, workers=workers)
    try:
        done = convert([source], target, "coco", ConvertOptions("labelme", read=read, **options))
    except DataError as error:
        return {"error": str(error)}
    texts = {path.name: path.read_bytes() for path in (target / "annotations").iterdir()}
    log = (target / "conversion.log").read_text().replace(str(target), "target")
    return {**texts, "log": log, "objects": done.objects, "images": done.images, "classes": done.classes}


def files_read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    opened: list[str] = []
    read = labelme_pool.LabelmeReader.read

    def noted(self: labelme_pool.LabelmeReader, path: str) -> Any:
        opened.append(Path(path).name)
        return read(self, path)

    monkeypatch.setattr(labelme_pool.LabelmeReader, "read", noted)
    return opened


def nothing(folder: Path) -> None:
    pass


def changed_in_place(folder: Path) -> None:
    path = folder / "1/9.json"
    before = path.stat()
    path.write_text(path.read_text().replace("dent", "bent"))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def touched(folder: Path) -> None:
    os.utime(folder / "1/9.json")


def removed(folder: Path) -> None:
    (folder / "0/2.json").unlink()


def added(folder: Path) -> None:
    put(folder / "0/2b.json", SQUARE, CROSSING)
    Image.new("RGB", (60, 40)).save(folder / "0/2b.jpg")


def moved(folder: Path) -> None:
    (folder / "0/2.json").rename(folder / "1/2.json")
    (folder / "0/2.jpg").rename(folder / "1/2.jpg")


def another_picture(folder: Path) -> None:
    """The same name, length and time; not the same size."""
    path = folder / "1/9.jpg"
    before = path.stat()
    Image.new("RGB", (61, 40)).save(path)
    path.write_bytes(path.read_bytes()[: before.st_size].ljust(before.st_size, b"\0"))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def picture_gone(folder: Path) -> None:
    (folder / "1/9.jpg").unlink()


def cut_picture(folder: Path) -> None:
    path = folder / "1/9.jpg"
    path.write_bytes(path.read_bytes()[:-30])


CHANGES = [
    *(nothing, changed_in_place, touched, removed, added, moved),
    *(another_picture, picture_gone, cut_picture),
]


@pytest.mark.parametrize("change", CHANGES)
def test_after_a_change(photos: Path, tmp_path: Path, change: Callable[[Path], None]) -> None:
    cache = tmp_path / "cache"
    first = result(photos, tmp_path / "first", cache)
    assert first == result(photos, tmp_path / "without", None)
    change(photos)
    after = result(photos, tmp_path / "after", None)
    assert (after == first) == (change in (nothing, touched))
    for again in ("one", "two"):
        assert result(photos, tmp_path / again, cache) == after


@pytest.mark.parametrize(
    ("change", "read"),
    [(nothing, []), (touched, []), (added, ["2b.json"]), (cut_picture, ["9.json"]), (removed, [])],
)
def test_only_what_changed_is_read(
    photos: Path,
    tmp_path: Path,
    change: Callable[[Path], None],
    read: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    result(photos, tmp_path / "first", tmp_path / "cache")
    change(photos)
    opened = files_read(monkeypatch)
    result(photos, tmp_path / "second", tmp_path / "cache")
    assert opened == read


@pytest.mark.parametrize(
    "options",
    [
        {"rename": ["dent=crack", "rayé=dent"]},
        {"classes": ["rayé", "dent", "crack", "more"]},
        {"classes": ["rayé"]},
        {"split": (0.5, 0.5)},
        {"write": WriteOptions(pictures="keep")},
        {"write": WriteOptions(pictures="link")},
    ],
)
def test_other_options_make_the_same_of_what_is_cached(
    photos: Path, tmp_path: Path, options: dict[str, Any]
) -> None:
    result(photos, tmp_path / "first", tmp_path / "cache")
    expected = result(photos, tmp_path / "expected", None, **options)
    assert result(photos, tmp_path / "again", tmp_path / "cache", **options) == expected


def test_several_processes_make_the_same(photos: Path, tmp_path: Path) -> None:
    expected = result(photos, tmp_path / "expected", None)
    for target in ("two", "again"):
        assert result(photos, tmp_path / target, tmp_path / "cache", workers=2) == expected


def test_what_is_made_ahead_is_what_the_writer_makes(photos: Path, tmp_path: Path) -> None:
    # Without what the checks change, which the writer does not do.
    for path in photos.rglob("*.json"):
        content = json.loads(path.read_text())
        content["shapes"] = [shape for shape in content["shapes"] if shape["points"] in (SQUARE, CROSSING)]
        path.write_text(json.dumps(content))
    ahead = result(photos, tmp_path / "ahead", None)["all.json"]
    dataset = read_annotations(photos, "labelme", report=AnnotationReport("x"))
    assert dataset.heads is None
    write_annotations(
        dataset, tmp_path / "plain", "coco", WriteOptions(pictures="copy"), AnnotationReport("x")
    )
    assert (tmp_path / "plain/annotations/all.json").read_bytes() == ahead


KILLED = """
import os, sys
from cardamage.data.formats.conversion.convert import ConvertOptions, convert
from cardamage.data.formats.labelme import pool
from cardamage.data.formats.registry import ReadOptions
from cardamage.data.formats.shared import keeping
from cardamage.data.formats.shared.spool import Spool
pool.FILES_IN_BLOCK, keeping.SAME_MOMENT = 4, 0
append, left = Spool.append, [int(sys.argv[4])]
def last(self, packed):
    left[0] -= 1
    if left[0] == 0:
        self.finish()
        os._exit(9)
    return append(self, packed)
if left[0]:
    Spool.append = last
else:
    os.replace = lambda *_: os._exit(9)
read = ReadOptions(cache=sys.argv[3], workers=1)
convert([sys.argv[1]], sys.argv[2], "coco", ConvertOptions("labelme", read=read))
"""


@pytest.mark.parametrize("when", [3, 0])
@pytest.mark.parametrize("before", [False, True])
def test_killed_in_the_middle(photos: Path, tmp_path: Path, when: int, before: bool) -> None:
    cache = tmp_path / "cache"
    if before:
        result(photos, tmp_path / "first", cache)
        for path in photos.rglob("*.json"):
            path.write_text(path.read_text() + " ")
    command = [sys.executable, "-c", KILLED, str(photos), str(tmp_path / "killed"), str(cache), str(when)]
    root = Path(__file__).resolve().parents[4]
    assert subprocess.run(command, cwd=root, capture_output=True).returncode == 9
    assert len(list(cache.glob("*.index"))) == before
    expected = result(photos, tmp_path / "expected", None)
    for again in ("one", "two"):
        assert result(photos, tmp_path / again, cache) == expected
    # What the killed run left behind is cleared away.
    assert len(list(cache.glob("*.packs"))) == 1 + before
