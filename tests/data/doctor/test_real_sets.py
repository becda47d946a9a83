"""Every oddity that is known of the real sets is found, by its code and where it is."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from cardamage.data.doctor.model import Hit
from tests.support.paths import SHARED_DATA

pytestmark = pytest.mark.skipif(not SHARED_DATA.is_dir(), reason="the real photographs are not here")

Codes = Callable[..., dict[str, list[Hit]]]


def names(hits: list[Hit]) -> list[str]:
    return sorted(Path(hit.file).name for hit in hits)


def pairs(hits: list[Hit]) -> set[frozenset[str]]:
    return {frozenset("/".join(Path(p).parts[-2:]) for p in (hit.file, *hit.others)) for hit in hits}


def test_via(codes: Codes) -> None:
    found = codes(SHARED_DATA / "damage-via")
    assert names(found["D003"]) == ["car-damage-train_attributes.json", "car-damage-val_attributes.json"]
    assert [hit.text.split()[0] for hit in found["D004"]] == ["152", "12"]
    assert pairs(found["D109"]) == {frozenset({"test/66.jpg", "train/17.jpg"})}
    assert pairs(found["D107"]) == {frozenset({"train/48.jpg", "train/25.jpg"})}
    assert [len(hit.others) for hit in found["D315"]] == [2, 2]
    # Two in damage, which three files hold, and two in that of parts.
    assert names(found["D204"]).count("train_multiclass.json") == 2
    assert len(found["D204"]) == 4
    # "Beyond the edge" and "negative" are one pixel.
    assert [hit.text for hit in found["D208"]] == ["front_bumper: by 1.00 px", "hood: by 1.00 px"]
    assert len(found["D214"]) == 1
    assert {Path(hit.file).parent.name for hit in found["D311"]} == {"test"}
    assert len(found["D311"]) == 8
    assert "D001" not in found
    assert "D002" not in found


@pytest.mark.parametrize("folder", ["damage-labelme", "damage-labelme/label"])
def test_labelme(codes: Codes, folder: str) -> None:
    found = codes(SHARED_DATA / folder)
    labels = {path.stem for path in (SHARED_DATA / "damage-labelme/label").glob("*.json")}
    pictures = {path.stem for path in (SHARED_DATA / "damage-labelme/image").glob("*.png")}
    # Only 0 and 1 agree, by chance.
    assert {Path(hit.file).stem for hit in found["D113"]} == (labels & pictures) - {"0", "1"}
    assert all(Path(hit.others[0]).parent.name == "image" for hit in found["D113"])
    assert names(found["D204"]) == ["1263.json", "1325.json", "441.json", "477.json"]
    assert len(found["D117"]) == 140
    assert not found.keys() & {"D001", "D002", "D003", "D101", "D112", "D201", "D205"}


def test_damage_coco(codes: Codes) -> None:
    found = codes(SHARED_DATA / "damage-coco")
    assert len(found["D212"]) == len(found["D213"]) == 738
    assert len(found["D208"]) == 25
    assert [(Path(hit.file).parent.name, hit.index) for hit in found["D302"]] == [("test", 0)]
    assert len(found["D304"]) == 1
    assert {hit.text for hit in found["D404"]} == {"car"}
    assert len(found["D309"]) == 3
    assert len(found["D317"]) == 1
    assert "D401" not in found
    assert not found.keys() & {"D301", "D303", "D305", "D306", "D101", "D112", "D405"}


def test_carparts(codes: Codes) -> None:
    found = codes(SHARED_DATA / "carparts")
    assert {hit.text for hit in found["D404"]} == {"_background_"}
    assert len(found["D116"]) == 2
    assert len(found["D203"]) == 3
    assert len(found["D108"]) == 3
    assert len(found["D204"]) == 2
    # Left and right are no slips of each other.
    assert not found.keys() & {"D401", "D402", "D403", "D405", "D101", "D112", "D109", "D212"}


def test_yolo_boxes(codes: Codes) -> None:
    found = codes(SHARED_DATA / "odd/odd-yolobox/surya")
    kinds = sorted(hit.text.split()[2] for hit in found["D106"])
    assert kinds == ["PNG", "WebP", "WebP", "WebP"]
    assert "L" in {hit.text for hit in found["D118"]}
    assert names(found["D310"]) == ["common-reasons-for-a-cracked-windshield.txt"]
    assert len(found["D312"]) == 2
    assert len(found["D313"]) == 1
    assert len(found["D211"]) == 15
    lujaina = codes(SHARED_DATA / "odd/odd-yolobox/lujaina")
    assert pairs(lujaina["D107"]) == {
        frozenset({"train/9.jpg", "train/coco9.jpg"}),
        frozenset({"train/42.jpg", "train/coco42.jpg"}),
    }
    assert len(lujaina["D317"]) == 5
    assert len(lujaina["D409"]) == 1


def test_yolo_outlines(codes: Codes) -> None:
    found = codes(SHARED_DATA / "odd/odd-yoloseg-parts-rectpoly")
    assert len(found["D317"]) == 6
    assert len(found["D210"]) == 8
    assert len(found["D110"]) == 4
    assert max(len(hit.others) for hit in found["D119"]) == 3
    assert {Path(hit.file).name for hit in found["D312"]} == {
        "data_fixed.windows-paths.yaml",
        "merged_data.windows-paths.yaml",
    }
    assert len(found["D406"]) == 2


def test_pointers_and_long_names(codes: Codes) -> None:
    found = codes(SHARED_DATA / "odd/odd-lfs-pointers-nonascii")
    assert len(found["D103"]) == 3
    assert any("prête" in hit.file for hit in found["D103"])
    assert not found.keys() & {"D101", "D104", "D107", "D109"}
