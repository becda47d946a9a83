"""VehiDE's files, written by hand as the published ones are."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from cardamage.data.annotations.report import AnnotationReport
from cardamage.data.formats.via.vehide import load_vehide, read_vehide
from cardamage.errors import DataError

ENGLISH = ["dent", "scratch", "tear", "glass shatter", "lamp broken", "puncture", "missing part"]


def region(label: str, *points: tuple[float, float]) -> dict[str, Any]:
    return {"all_x": [x for x, _ in points], "all_y": [y for _, y in points], "class": label}


SQUARE = ((10, 5), (30, 5), (30, 25), (10, 25))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for number, size in enumerate(((60, 40), (50, 70), (40, 40))):
        Image.new("RGB", size).save(tmp_path / f"{number}.jpg")
    return tmp_path


def write(folder: Path, content: Any) -> Path:
    file = folder / "0Train_via_annos.json"
    file.write_text(json.dumps(content), encoding="utf-8")
    return file


def entry(name: str, *regions: dict[str, Any]) -> dict[str, Any]:
    return {name: {"name": name, "regions": list(regions)}}


def test_the_layout(folder: Path) -> None:
    content = {
        **entry("0.jpg", region("mop_lom", *SQUARE), region("mat_bo_phan", (0, 0), (9, 0), (0, 9))),
        **entry("1.jpg"),
        **entry("2.jpg", region("tray_son", (1, 1), (4, 1), (4, 8))),
    }
    dicts, classes = load_vehide(write(folder, content), folder)
    assert classes == ENGLISH
    assert [record["image_id"] for record in dicts] == [1, 2, 3]
    assert [(record["width"], record["height"]) for record in dicts] == [(60, 40), (50, 70), (40, 40)]
    assert [record["file_name"] for record in dicts] == [str(folder / f"{i}.jpg") for i in range(3)]
    dent, missing = dicts[0]["annotations"]
    assert (dent["category_id"], missing["category_id"]) == (0, 6)
    assert dent["bbox"] == [10, 5, 30, 25]
    assert list(dent["segmentation"][0]) == [10, 5, 30, 5, 30, 25, 10, 25]
    assert dicts[1]["annotations"] == []
    assert dicts[2]["annotations"][0]["category_id"] == 1


def test_what_the_published_set_has(folder: Path) -> None:
    """One region of no area, and one wholly outside of its picture."""
    lost = (region("tray_son", (9, 8), (9, 7), (9, 7)), region("rach", (142, 4), (160, 4), (160, 30)))
    report = AnnotationReport("vehide")
    dicts, _ = load_vehide(write(folder, entry("0.jpg", *lost, region("thung", *SQUARE))), folder, report)
    assert [note["category_id"] for note in dicts[0]["annotations"]] == [5]
    assert report.read == 3


def test_a_class_that_is_not_known_keeps_its_name(folder: Path) -> None:
    dataset = read_vehide(write(folder, entry("0.jpg", region("ri_set", *SQUARE))), folder)
    assert dataset.classes == [*ENGLISH, "ri_set"]
    assert dataset.format == "vehide"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([], "it has no pictures"),
        ({}, "it has no pictures"),
        ({"a.jpg": 3}, "its entry 'a.jpg' has no list of 'regions'"),
        ({"a.jpg": {"regions": {"0": {}}}}, "its entry 'a.jpg' has no list of 'regions'"),
        (entry("0.jpg", {"all_x": [1], "all_y": [1]}), "0.jpg, region 0: it has no 'class'"),
        (entry("0.jpg", {"all_x": [1, 2], "all_y": [1], "class": "rach"}), "not lists of equal length"),
        (entry("gone.jpg"), "gone.jpg"),
        (entry("../secret.jpg"), "outside of its folder"),
    ],
)
def test_what_is_refused(folder: Path, content: Any, message: str) -> None:
    (folder / "pictures").mkdir()
    Image.new("RGB", (60, 40)).save(folder / "pictures/0.jpg")
    with pytest.raises(DataError, match=message):
        load_vehide(write(folder, content), folder / "pictures")


@pytest.mark.parametrize("numbers", [[None, 1, 2], ["a", "b", "c"], [float("nan")] * 3, [1e308] * 3])
def test_points_that_are_none(folder: Path, numbers: list[Any]) -> None:
    report = AnnotationReport("vehide")
    broken = {"all_x": numbers, "all_y": [1, 2, 3], "class": "rach"}
    dicts, _ = load_vehide(write(folder, entry("0.jpg", broken)), folder, report)
    assert dicts[0]["annotations"] == []
    assert report.read == 1
