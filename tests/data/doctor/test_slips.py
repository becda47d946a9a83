"""Slips of people and of tools: numbered labels, pasted outlines, empty pictures, boxes of everything."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from cardamage.data.doctor import read_sources
from cardamage.data.doctor.model import Hit
from cardamage.data.doctor.repair.fixing import write_repaired

from .conftest import HEIGHT, WIDTH, CocoSet, write_photo
from .test_numbers_and_turns import large_set

Codes = Callable[..., dict[str, list[Hit]]]


@pytest.mark.parametrize(
    ("names", "told"),
    [
        (("dent1", "dent2"), True),
        (("dent_1", "dent 2"), True),
        (("dent", "dent2"), False),
        (("dent1", "scratch2"), False),
        (("1", "2"), False),
    ],
)
def test_classes_with_numbers(coco_set: CocoSet, codes: Codes, names: tuple[str, str], told: bool) -> None:
    for category, name in zip(coco_set.content["categories"], names, strict=True):
        category["name"] = name
    coco_set.save()
    found = codes(coco_set.train)
    assert [hit.text for hit in found.get("D418", [])] == [", ".join(map(repr, names))] * told


def test_pictures_of_one_color(coco_set: CocoSet, codes: Codes) -> None:
    grey = np.full((HEIGHT, WIDTH, 3), 77, np.uint8)
    cv2.imwrite(str(coco_set.train / "car1.jpg"), grey)
    grey[40:60, 40:60] = 130
    cv2.imwrite(str(coco_set.train / "car2.jpg"), grey)
    found = codes(coco_set.save())
    assert [(Path(hit.file).name, hit.text) for hit in found["D124"]] == [("car1.jpg", f"{WIDTH}x{HEIGHT}")]


def test_boxes_of_the_whole_picture(coco_set: CocoSet, codes: Codes) -> None:
    one, other, third = coco_set.content["annotations"][:3]
    w, h = WIDTH, HEIGHT
    one.update(bbox=[0, 0, w, h], segmentation=[], area=w * h)
    other.update(bbox=[0, 0, w, h], segmentation=[[0, 0, w, 0, w, h, 0, h]], area=w * h)
    # The outline of a car that fills its picture.
    third.update(bbox=[0, 0, w, h], segmentation=[[0, 20, 20, 0, w, 0, w, h, 0, h]], area=w * h - 200)
    found = codes(coco_set.save())
    assert [hit.index for hit in found["D231"]] == [0, 1]


def test_an_outline_that_was_pasted(tmp_path: Path, codes: Codes) -> None:
    folder = large_set(tmp_path, (1, 1))
    first = json.loads((folder / "0.json").read_text())["shapes"][1]
    for number in (2, 3, 5):
        content = json.loads((folder / f"{number}.json").read_text())
        content["shapes"][1] = first
        (folder / f"{number}.json").write_text(json.dumps(content))
    found = codes(folder)
    assert set(found) == {"D232"}
    (hit,) = found["D232"]
    assert (Path(hit.file).name, hit.index, hit.text) == ("0.json", 1, "dent: in 4 photos")
    assert [Path(p).name for p in hit.others] == ["2.json", "3.json", "5.json"]


@pytest.mark.parametrize("bbox", [[1, 2, 3], [1, 2, 3, 4, 0.5], {"x": 1}, "1,2,3,4", [[1, 2], [3, 4]]])
def test_boxes_of_other_forms(coco_set: CocoSet, codes: Codes, bbox: Any) -> None:
    annotation = coco_set.content["annotations"][4]
    annotation["bbox"] = bbox
    found = codes(coco_set.save())
    assert set(found) == {"D221"}
    assert [hit.index for hit in found["D221"]] == [4]
    annotation["segmentation"] = []
    assert "D002" in codes(coco_set.save()) or isinstance(bbox, str)


def test_ids_that_are_no_numbers(coco_set: CocoSet, codes: Codes, tmp_path: Path) -> None:
    content = coco_set.content
    content["images"][0]["id"] = "car-1"
    for annotation in content["annotations"]:
        annotation["id"] = f"a{annotation['id']}"
        annotation["image_id"] = "car-1" if annotation["image_id"] == 1 else annotation["image_id"]
    found = codes(coco_set.save())
    assert set(found) == {"D308"}
    assert len(found["D308"]) == 25
    assert found["D308"][0].text.endswith("car1.jpg has the id 'car-1'")
    assert found["D308"][1].text == "the annotation's id 'a1'"
    write_repaired(read_sources([coco_set.folder]), tmp_path / "copy")
    assert codes(tmp_path / "copy") == {}


@pytest.mark.parametrize("beside", [True, False])
def test_an_embedded_picture_that_cannot_be_read(tmp_path: Path, codes: Codes, beside: bool) -> None:
    folder = large_set(tmp_path / "set", (1, 1))
    content = json.loads((folder / "0.json").read_text())
    content["imageData"] = base64.b64encode(b"no picture at all").decode()
    (folder / "0.json").write_text(json.dumps(content))
    if not beside:
        (folder / "0.jpg").unlink()
    assert "0.json" in {Path(hit.file).name for hits in codes(folder).values() for hit in hits}
    write_repaired(read_sources([folder]), tmp_path / "copy")
    assert (tmp_path / "copy" / "0.json").is_file() is beside
    assert codes(tmp_path / "copy") == {}


def test_some_masks_of_a_folder_are_bad(tmp_path: Path, codes: Codes) -> None:
    for number in range(3):
        write_photo(tmp_path / "images" / f"{number}.jpg", number)
        for index in range(2):
            mask = np.zeros((HEIGHT, WIDTH), np.uint8)
            cv2.circle(mask, (40 + 60 * index, 50), 20, 255, -1)
            place = tmp_path / "masks" / str(number) / f"{index + 1}_dent.png"
            place.parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(place), mask[:60] if (number, index) == (1, 0) else mask)
    (tmp_path / "masks/2/1_dent.png").write_text("no picture")
    found = codes(tmp_path)
    assert set(found) == {"D215", "D411"}
    texts = {Path(hit.file).relative_to(tmp_path).as_posix(): hit.text for hit in found["D215"]}
    assert texts["masks/1/1_dent.png"] == "it is 160x60 and the picture 160x120"
    assert set(texts) == {"masks/1/1_dent.png", "masks/2/1_dent.png"}
    assert [len(picture.shapes) for picture in read_sources([tmp_path]).pictures] == [2, 1, 1]
