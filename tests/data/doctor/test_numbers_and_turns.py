"""Class numbers that are one off, photos turned after they were annotated, and files that hold the same."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pycocotools.mask as mask_util
import pytest

from cardamage.data.doctor import read_sources
from cardamage.data.doctor.model import Hit
from cardamage.data.doctor.repair.fixing import write_repaired
from cardamage.data.doctor.reporting import as_text
from cardamage.data.doctor.tables import overview
from cardamage.data.formats.registry import WriteOptions, read_annotations, write_annotations

from .conftest import HEIGHT, WIDTH, CocoSet, pentagon, write_photo
from .test_places import yolo_set

Codes = Callable[..., dict[str, list[Hit]]]
NAMES = ("dent", "scratch", "crack", "rust")


def numbered(coco_set: CocoSet, first_listed: int, first_used: int) -> Path:
    """Four classes of six objects in the list, which is numbered from one number, and used from another."""
    content = coco_set.content
    content["categories"] = [{"id": first_listed + i, "name": name} for i, name in enumerate(NAMES)]
    for number, annotation in enumerate(content["annotations"]):
        annotation["category_id"] = first_used + number % 4
    coco_set.save()
    return coco_set.train


@pytest.mark.parametrize(("listed", "used"), [(1, 0), (1, 2), (3, 2)])
def test_categories_that_are_one_off(
    coco_set: CocoSet, codes: Codes, tmp_path: Path, listed: int, used: int
) -> None:
    folder = numbered(coco_set, listed, used)
    found = codes(folder)
    assert set(found) == {"D320", "D411"}
    (hit,) = found["D320"]
    assert (
        f"have the classes {used} to {used + 3}, the list numbers them {listed} to {listed + 3}" in hit.text
    )
    classes = overview(read_sources([folder]))["classes"]
    assert {name: sum(row["objects"].values()) for name, row in classes.items()} == dict.fromkeys(NAMES, 6)
    # Only a person can know, so the copy has what the source has.
    write_repaired(read_sources([folder]), tmp_path / "copy")
    copied = json.loads((tmp_path / "copy" / "_annotations.coco.json").read_text())
    assert copied["categories"] == coco_set.content["categories"]
    assert [a["category_id"] for a in copied["annotations"]] == [used + i % 4 for i in range(24)]


@pytest.mark.parametrize("used", [-1, 3])
def test_categories_that_are_farther_off_are_not_understood(
    coco_set: CocoSet, codes: Codes, used: int
) -> None:
    found = codes(numbered(coco_set, 1, used))
    assert "D320" not in found
    assert found["D306"]


def test_a_number_too_many_is_not_one_off(coco_set: CocoSet, codes: Codes) -> None:
    numbered(coco_set, 1, 1)
    coco_set.content["annotations"][0]["category_id"] = 0
    coco_set.save()
    found = codes(coco_set.train)
    assert "D320" not in found
    assert [hit.index for hit in found["D306"]] == [0]


def test_yolo_numbered_from_one(tmp_path: Path, codes: Codes) -> None:
    folder = yolo_set(tmp_path / "set")
    (folder / "data.yaml").write_text(f"names: [{', '.join(NAMES)}]\n")
    for file in (folder / "labels").iterdir():
        rows = [row.partition(" ")[2] for row in file.read_text().splitlines()]
        file.write_text("".join(f"{1 + i % 4} {row}\n" for i, row in enumerate(rows)))
    found = codes(folder)
    assert set(found) == {"D320", "D411"}
    before = {file.name: file.read_text() for file in (folder / "labels").iterdir()}
    write_repaired(read_sources([folder]), tmp_path / "copy")
    assert {file.name: file.read_text() for file in (tmp_path / "copy/labels").iterdir()} == before


def turn(file: Path) -> None:
    cv2.imwrite(str(file), cv2.rotate(cv2.imread(str(file)), cv2.ROTATE_90_CLOCKWISE))


def test_photos_that_were_turned_after_they_were_annotated(
    coco_set: CocoSet, codes: Codes, tmp_path: Path
) -> None:
    for number in (1, 2):
        turn(coco_set.train / f"car{number}.jpg")
    # What is left of the second would fit either way: it was turned as the first was.
    kept = [a for a in coco_set.content["annotations"] if a["image_id"] != 2]
    coco_set.content["annotations"] = kept + [
        a for a in coco_set.content["annotations"] if a["image_id"] == 2 and a["bbox"][0] < 60
    ]
    found = codes(coco_set.save())
    assert set(found) == {"D112"}
    texts = {Path(hit.file).name: hit.text for hit in found["D112"]}
    assert "(turned by 90 degrees since it was annotated, as its outlines show)" in texts["car1.jpg"]
    assert "(sides swapped)" in texts["car2.jpg"]
    write_repaired(read_sources([coco_set.folder]), tmp_path / "copy")
    copied = json.loads((tmp_path / "copy/train/_annotations.coco.json").read_text())
    assert {(image["height"], image["width"]) for image in copied["images"]} == {(HEIGHT, WIDTH)}


def via_regions(count: int = 4) -> list[dict[str, Any]]:
    outlines = [pentagon(5 + 37 * i, 20) for i in range(count)]
    return [
        {
            "shape_attributes": {"name": "polygon", "all_points_x": o[::2], "all_points_y": o[1::2]},
            "region_attributes": {"class": "dent"},
        }
        for o in outlines
    ]


def test_what_is_in_files_that_hold_the_same_is_told_once(tmp_path: Path, codes: Codes) -> None:
    content = {}
    for number in range(3):
        write_photo(tmp_path / f"{number}.jpg", number)
        content[f"{number}.jpg-1"] = {"filename": f"{number}.jpg", "size": -1, "regions": via_regions()}
    shape = content["0.jpg-1"]["regions"][0]["shape_attributes"]
    shape.update(all_points_x=[10, 40, 10, 40], all_points_y=[10, 40, 40, 10])
    content["1.jpg-1"]["regions"].append(content["1.jpg-1"]["regions"][0])
    content["1.jpg-1"]["regions"].append({"shape_attributes": {"name": "point", "cx": 1, "cy": 1}})
    for name in ("via_a.json", "via_b.json", "via_c.json"):
        (tmp_path / name).write_text(json.dumps(content), encoding="utf-8")
    found = codes(tmp_path)
    assert {code: len(hits) for code, hits in found.items()} == {
        "D204": 1, "D206": 1, "D220": 1, "D315": 1, "D408": 1,
    }  # fmt: skip
    assert len(found["D315"][0].others) == 2
    assert overview(read_sources([tmp_path]))["objects"] == 13


@pytest.mark.parametrize("format", ["via", "yolo"])
def test_cuts_to_holes_are_no_crossing(tmp_path: Path, coco_set: CocoSet, codes: Codes, format: str) -> None:
    ring = np.zeros((HEIGHT, WIDTH), np.uint8)
    cv2.circle(ring, (80, 60), 50, 1, -1)
    cv2.circle(ring, (80, 60), 20, 0, -1)
    rle = mask_util.encode(np.asfortranarray(ring))
    annotation = coco_set.content["annotations"][0]
    annotation["segmentation"] = {"size": [HEIGHT, WIDTH], "counts": rle["counts"].decode()}
    coco_set.save()
    dataset = read_annotations(coco_set.train)
    write_annotations(dataset, tmp_path / format, format, WriteOptions(pictures="copy"))
    found = codes(tmp_path / format)
    assert "D204" not in found


def test_a_spike_is_still_told(coco_set: CocoSet, codes: Codes) -> None:
    annotation = coco_set.content["annotations"][0]
    x, y = annotation["segmentation"][0][:2]
    annotation["segmentation"][0] += [x - 5, y + 10, x, y]
    annotation["segmentation"][0] = [
        *annotation["segmentation"][0][:-4],
        x,
        y + 15,
        x + 12.5,
        y + 15,
        x,
        y + 15,
    ]
    found = codes(coco_set.save())
    assert [hit.text for hit in found["D204"]] == ["dent: touches itself"]


def test_crowds_are_no_objects(coco_set: CocoSet) -> None:
    annotation = coco_set.content["annotations"][0]
    runs = [500, 300, HEIGHT * WIDTH - 800]
    annotation.update(iscrowd=1, segmentation={"size": [HEIGHT, WIDTH], "counts": runs})
    subject = read_sources([coco_set.save()])
    facts = overview(subject)
    assert (facts["objects"], facts["crowds"]) == (47, 1)
    assert facts["classes"]["dent"]["objects"] == {"train": 11, "val": 12}
    assert "47 objects, 1 crowd region beside them" in as_text(subject, [])


def test_copies_of_a_file_in_other_folders(tmp_path: Path, coco_set: CocoSet, codes: Codes) -> None:
    coco_set.content["annotations"][0]["segmentation"] = [[10, 10, 40, 40, 10, 40, 40, 10]]
    coco_set.save()
    shutil.copyfile(coco_set.train / "_annotations.coco.json", coco_set.train / "backup.json")
    found = codes(coco_set.folder)
    assert len(found["D204"]) == 1
    assert len(found["D315"]) == 1


@pytest.mark.parametrize(("code", "text"), [(cv2.ROTATE_90_CLOCKWISE, "90"), (cv2.ROTATE_180, "180"),
                                            (cv2.ROTATE_90_COUNTERCLOCKWISE, "90")])  # fmt: skip
@pytest.mark.parametrize("split", ["train", "val"])
def test_a_turned_copy_of_a_photo(coco_set: CocoSet, codes: Codes, code: int, text: str, split: str) -> None:
    first = cv2.imread(str(coco_set.train / "car1.jpg"))
    cv2.imwrite(str(coco_set.folder / split / "turned.jpg"), cv2.rotate(first, code))
    found = codes(coco_set.save())
    kind = "D108" if split == "train" else "D109"
    assert set(found) == {kind, "D311"}
    (hit,) = found[kind]
    assert {Path(p).name for p in (hit.file, *hit.others)} == {"car1.jpg", "turned.jpg"}
    assert f"turned by {text} degrees" in hit.text


def large_set(folder: Path, scale: tuple[float, float], pictures: int = 8) -> Path:
    """Labelme files of photos of 400x300, with three outlines all over each, whose points are scaled."""
    for number in range(pictures):
        photo = write_photo(folder / f"{number}.jpg", number, height=300, width=400)
        shapes = [
            {"label": "dent", "shape_type": "polygon", "flags": {},
             "points": (np.reshape(pentagon(x, y, 60 - number / 10), (-1, 2)) * scale).tolist()}
            for x, y in ((5, 5), (150, 120), (338, 238))
        ]  # fmt: skip
        content = {"version": "5.0.1", "shapes": shapes, "imagePath": photo.name, "imageData": None,
                   "imageHeight": 300, "imageWidth": 400}  # fmt: skip
        photo.with_suffix(".json").write_text(json.dumps(content), encoding="utf-8")
    return folder


def test_percent_in_place_of_pixels(tmp_path: Path, codes: Codes) -> None:
    folder = large_set(tmp_path / "set", (100 / 400, 100 / 300))
    found = codes(folder)
    assert set(found) == {"D222"}
    assert len(found["D222"]) == 24
    assert found["D222"][0].text == "dent: in percent"
    shape = next(read_sources([folder]).shapes)
    np.testing.assert_allclose(shape.rings[0], np.reshape(pentagon(5, 5, 60), (-1, 2)))
    # Nobody but a person may change all outlines.
    write_repaired(read_sources([folder]), tmp_path / "copy")
    for file in folder.glob("*.json"):
        assert (
            json.loads((tmp_path / "copy" / file.name).read_text())["shapes"]
            == json.loads(file.read_text())["shapes"]
        )


def test_outlines_of_smaller_pictures(tmp_path: Path, codes: Codes) -> None:
    found = codes(large_set(tmp_path / "half", (0.5, 0.5)))
    assert {code: [hit.text for hit in hits] for code, hits in found.items()} == {
        "D230": ["none is right of 50% of the width or below 50%"]
    }
    assert codes(large_set(tmp_path / "whole", (1, 1))) == {}
    assert codes(large_set(tmp_path / "wide", (0.5, 1))) == {}
    assert codes(large_set(tmp_path / "few", (0.5, 0.5), pictures=4)) == {}


def test_pictures_of_a_name_with_other_suffixes(tmp_path: Path, codes: Codes) -> None:
    folder = large_set(tmp_path, (1, 1))
    shutil.copyfile(folder / "0.jpg", folder / "0.jpeg")
    shutil.copyfile(folder / "2.jpg", folder / "1.jpeg")
    found = codes(folder)
    assert set(found) == {"D107", "D311"}
    assert [Path(hit.file).name for hit in found["D311"]] == ["0.jpeg", "1.jpeg"]
    assert [{Path(p).name for p in (hit.file, *hit.others)} for hit in found["D107"]] == [
        {"0.jpg", "0.jpeg"},
        {"2.jpg", "1.jpeg"},
    ]
