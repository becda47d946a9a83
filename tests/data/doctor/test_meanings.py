"""Coordinates and names that are written otherwise than the format says, and what the repaired copy has."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pycocotools.mask as mask_util
import pytest

from cardamage.data.doctor import read_sources
from cardamage.data.doctor.model import Hit
from cardamage.data.doctor.repair.fixing import write_repaired

from .conftest import HEIGHT, WIDTH, CocoSet, pentagon, write_photo

Codes = Callable[..., dict[str, list[Hit]]]
Annotation = dict[str, Any]


def repaired(coco_set: CocoSet, tmp_path: Path) -> dict[str, Any]:
    write_repaired(read_sources([coco_set.folder]), tmp_path / "copy")
    file = tmp_path / "copy" / "train" / "_annotations.coco.json"
    content: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return content


def pairs(a: Annotation) -> None:
    a["segmentation"] = np.reshape(a["segmentation"][0], (-1, 2)).tolist()


def objects(a: Annotation) -> None:
    ring = a["segmentation"][0]
    a["segmentation"] = [{"x": x, "y": y} for x, y in zip(ring[::2], ring[1::2], strict=True)]


@pytest.mark.parametrize(
    ("spoil", "text"),
    [
        (pairs, "points in pairs"),
        (objects, "points as objects"),
        (lambda a: a.update(segmentation=a["segmentation"][0]), "in no list of parts"),
        (lambda a: a.update(segmentation=json.dumps(a["segmentation"])), "segmentation as text"),
        (lambda a: a.update(segmentation=[[str(v) for v in a["segmentation"][0]]]), "outline as text"),
        (lambda a: a.update(bbox=[str(v) for v in a["bbox"]]), "bbox as text"),
        (lambda a: a.update(area=str(a["area"])), "area as text"),
        (lambda a: a.update(iscrowd="False"), "iscrowd as text"),
    ],
)
def test_other_spellings(
    coco_set: CocoSet, codes: Codes, tmp_path: Path, spoil: Callable[[Annotation], None], text: str
) -> None:
    before = json.loads(json.dumps(coco_set.content))
    for annotation in coco_set.content["annotations"]:
        spoil(annotation)
    found = codes(coco_set.save())
    assert set(found) == {"D221"}
    assert len(found["D221"]) == len(before["annotations"])
    assert text in found["D221"][0].text
    after = repaired(coco_set, tmp_path)["annotations"]
    for old, new in zip(before["annotations"], after, strict=True):
        np.testing.assert_allclose(new["segmentation"], old["segmentation"], atol=1e-9)
        np.testing.assert_allclose(new["bbox"], old["bbox"], atol=1e-9)
        assert new["iscrowd"] == 0
        assert new["area"] == pytest.approx(old["area"], rel=0.05)
    assert codes(tmp_path / "copy") == {}


@pytest.mark.parametrize("outlines", [True, False])
def test_corners_in_place_of_sizes(coco_set: CocoSet, codes: Codes, tmp_path: Path, outlines: bool) -> None:
    boxes = []
    for a in coco_set.content["annotations"]:
        x, y, width, height = a["bbox"]
        boxes.append(a["bbox"])
        a["bbox"] = [x, y, x + width, y + height]
        if not outlines:
            del a["segmentation"], a["area"]
    found = codes(coco_set.save())
    assert set(found) == ({"D223"} if outlines else {"D223", "D211", "D224"})
    after = repaired(coco_set, tmp_path)["annotations"]
    np.testing.assert_allclose([a["bbox"] for a in after], boxes, atol=1e-9)


def test_right_boxes_of_large_objects_are_left(coco_set: CocoSet, codes: Codes) -> None:
    for a in coco_set.content["annotations"]:
        a["bbox"] = [0.0, 0.0, WIDTH, HEIGHT]
        del a["segmentation"], a["area"]
    assert "D223" not in codes(coco_set.save())


def test_shares_in_place_of_pixels(coco_set: CocoSet, codes: Codes, tmp_path: Path) -> None:
    scale = np.tile([WIDTH, HEIGHT], 5)
    for a in coco_set.content["annotations"]:
        a["segmentation"] = [(np.array(a["segmentation"][0]) / scale).tolist()]
        a["bbox"] = (np.array(a["bbox"]) / scale[:4]).tolist()
        a["area"] /= WIDTH * HEIGHT
    before = json.loads(json.dumps(coco_set.content["annotations"]))
    found = codes(coco_set.save())
    assert set(found) == {"D222"}
    assert len(found["D222"]) == 24
    assert [a["segmentation"] for a in repaired(coco_set, tmp_path)["annotations"]] == [
        a["segmentation"] for a in before
    ]


def test_swapped_sides_that_the_outlines_show(coco_set: CocoSet, codes: Codes, tmp_path: Path) -> None:
    for image in coco_set.content["images"]:
        image["height"], image["width"] = WIDTH, HEIGHT
    found = codes(coco_set.save())
    # Without the insight, those right of the stated width would be told as outside, and dropped.
    assert set(found) == {"D112"}
    assert all("sides swapped, which its outlines fit" in hit.text for hit in found["D112"])
    after = repaired(coco_set, tmp_path)
    assert {(image["height"], image["width"]) for image in after["images"]} == {(HEIGHT, WIDTH)}
    assert len(after["annotations"]) == 24
    assert codes(tmp_path / "copy") == {}


def test_x_and_y_of_an_outline_swapped(coco_set: CocoSet, codes: Codes, tmp_path: Path) -> None:
    before = [list(a["bbox"]) for a in coco_set.content["annotations"]]
    for a in coco_set.content["annotations"]:
        a["segmentation"] = [np.reshape(a["segmentation"][0], (-1, 2))[:, ::-1].reshape(-1).tolist()]
    found = codes(coco_set.save())
    assert {hit.text.split(": ")[1] for hit in found["D216"]} == {"the outline has x and y swapped"}
    # The box is the one that is right.
    after = [a["bbox"] for a in repaired(coco_set, tmp_path)["annotations"] if a["id"] in (1, 2)]
    assert after == before[:2]


def test_a_mask_that_is_not_in_its_box(coco_set: CocoSet, codes: Codes) -> None:
    for a in coco_set.content["annotations"]:
        rle = mask_util.merge(mask_util.frPyObjects(a["segmentation"], HEIGHT, WIDTH))
        a["segmentation"] = {"size": rle["size"], "counts": rle["counts"].decode()}
        a["area"] = float(mask_util.area(rle))
    assert codes(coco_set.save()) == {}
    coco_set.content["annotations"][3]["bbox"][0] -= 20
    found = codes(coco_set.save())
    assert {code: [hit.index for hit in hits] for code, hits in found.items()} == {"D216": [3]}


def test_what_coco_needs_and_a_single_object_as_a_crowd(
    coco_set: CocoSet, codes: Codes, tmp_path: Path
) -> None:
    annotations = coco_set.content["annotations"]
    del annotations[1]["area"], annotations[1]["iscrowd"], annotations[1]["bbox"]
    annotations[2]["iscrowd"] = 1
    found = codes(coco_set.save())
    assert {code: [hit.index for hit in hits] for code, hits in found.items()} == {"D224": [1], "D225": [2]}
    assert found["D224"][0].text == "no area, no iscrowd, no bbox"
    after = repaired(coco_set, tmp_path)["annotations"]
    assert (after[1]["iscrowd"], after[2]["iscrowd"]) == (0, 1)
    assert after[1]["area"] == pytest.approx(0.9375 * 900, rel=0.05)


@pytest.mark.parametrize("name", [" dent", "dent\u00a0", "- dent", "dent,"])
def test_names_with_something_around_them(coco_set: CocoSet, codes: Codes, tmp_path: Path, name: str) -> None:
    coco_set.content["categories"][0]["name"] = name
    found = codes(coco_set.save())
    assert [hit.text for hit in found["D414"]] == [repr(name)]
    assert [c["name"] for c in repaired(coco_set, tmp_path)["categories"]] == ["dent", "scratch"]
    assert codes(tmp_path / "copy") == {}


def test_one_name_in_two_spellings_of_unicode(coco_set: CocoSet, codes: Codes) -> None:
    categories = coco_set.content["categories"]
    categories[0]["name"] = unicodedata.normalize("NFC", "rayé")
    categories[1]["name"] = unicodedata.normalize("NFD", "rayé")
    assert len(codes(coco_set.save())["D403"]) == 1


def test_categories_of_one_name_without_a_name_and_of_a_number(
    coco_set: CocoSet, codes: Codes, tmp_path: Path
) -> None:
    coco_set.content["categories"][1]["name"] = "dent"
    assert len(codes(coco_set.save())["D415"]) == 1
    content = repaired(coco_set, tmp_path)
    assert [c["name"] for c in content["categories"]] == ["dent"]
    assert {a["category_id"] for a in content["annotations"]} == {1}
    del coco_set.content["categories"][1]["name"]
    found = codes(coco_set.save())
    assert len(found["D413"]) == 1
    assert "D416" not in found
    write_repaired(read_sources([coco_set.folder]), tmp_path / "second")


def test_corners_in_yolos_boxes(tmp_path: Path, codes: Codes) -> None:
    folder, copy = tmp_path / "set", tmp_path / "copy"
    for number in range(3):
        write_photo(folder / "images" / f"{number}.jpg", number)
        rows = []
        for index in range(4):
            outline = np.reshape(pentagon(5 + 37 * index, 10 + 25 * number), (-1, 2)) / (WIDTH, HEIGHT)
            corners = [*outline.min(axis=0), *outline.max(axis=0)]
            rows.append(f"{index % 2} " + " ".join(f"{v:.6f}" for v in corners))
        (folder / "labels").mkdir(exist_ok=True)
        (folder / "labels" / f"{number}.txt").write_text("\n".join(rows))
    (folder / "data.yaml").write_text("names: [dent, scratch]\n")
    found = codes(folder)
    assert set(found) == {"D211", "D223", "D411"}
    assert len(found["D223"]) == 12
    write_repaired(read_sources([folder]), copy)
    row = (copy / "labels" / "0.txt").read_text().split()[:5]
    # 30 by 30 pixels from 5, 10.
    np.testing.assert_allclose(
        [float(v) for v in row], [0, 20 / 160, 25 / 120, 30 / 160, 30 / 120], atol=1e-5
    )


def test_outlines_of_larger_pictures_are_not_cut(coco_set: CocoSet, codes: Codes, tmp_path: Path) -> None:
    for a in coco_set.content["annotations"]:
        a["segmentation"] = [[2 * v for v in a["segmentation"][0]]]
        a["bbox"] = [2 * v for v in a["bbox"]]
        a["area"] *= 4
    before = [a["segmentation"] for a in coco_set.content["annotations"]]
    found = codes(coco_set.save())
    assert set(found) == {"D202", "D203", "D207", "D227"}
    assert [Path(hit.file).parent.name for hit in found["D227"]] == ["train"]
    after = repaired(coco_set, tmp_path)["annotations"]
    np.testing.assert_allclose([a["segmentation"] for a in after], before)


def test_two_slips_far_outside_are_dropped_as_before(coco_set: CocoSet, codes: Codes, tmp_path: Path) -> None:
    for a in coco_set.content["annotations"][:2]:
        a["segmentation"] = [[v + 500 for v in a["segmentation"][0]]]
        a["bbox"] = [a["bbox"][0] + 500, a["bbox"][1] + 500, 30.0, 30.0]
    found = codes(coco_set.save())
    assert {code: len(hits) for code, hits in found.items()} == {"D202": 2}
    assert len(repaired(coco_set, tmp_path)["annotations"]) == 22


def test_objects_that_were_drawn_twice_by_hand(coco_set: CocoSet, codes: Codes, tmp_path: Path) -> None:
    annotations = coco_set.content["annotations"]
    annotations[4]["segmentation"] = [pentagon(20, 20, 80)]
    annotations[4] |= {"bbox": [20.0, 20.0, 80.0, 80.0], "area": 0.9375 * 6400}
    # Two pixels of 80 to the side are 5% of the area; eight are 20%.
    for shift, number in ((2, 101), (8, 102)):
        ring = pentagon(20 + shift, 20, 80)
        annotations.append({**annotations[4], "id": number, "segmentation": [ring]})
        annotations[-1]["bbox"] = [20.0 + shift, 20.0, 80.0, 80.0]
    found = codes(coco_set.save())
    assert {code: [(h.index, h.text) for h in hits] for code, hits in found.items()} == {
        "D228": [(24, "dent: nearly the same as 4")]
    }
    assert len(repaired(coco_set, tmp_path)["annotations"]) == 26


def test_forms_of_a_known_format_that_are_not_read(coco_set: CocoSet, codes: Codes, tmp_path: Path) -> None:
    coco_set.content["annotations"] = [{"image_id": 1, "segments_info": []}]
    assert "panoptic" in codes(coco_set.save())["D001"][0].text
    head = "filename;file_size;region_shape_attributes;region_attributes\n"
    (tmp_path / "via").mkdir()
    (tmp_path / "via" / "a.csv").write_text(head + 'a.jpg;1;"{}";"{}"\n', encoding="utf-8")
    assert "divided by ';'" in codes(tmp_path / "via")["D001"][0].text


def test_spaces_around_via_labels(tmp_path: Path, codes: Codes) -> None:
    content = {}
    for number in range(3):
        write_photo(tmp_path / "set" / f"{number}.jpg", number)
        regions = []
        for index in range(4):
            ring = pentagon(5 + 37 * index, 20)
            shape = {"name": "polygon", "all_points_x": ring[::2], "all_points_y": ring[1::2]}
            label = "dent " if number == index == 1 else "dent"
            regions.append({"shape_attributes": shape, "region_attributes": {"damage": label}})
        content[f"{number}"] = {"filename": f"{number}.jpg", "size": 1, "regions": regions}
    (tmp_path / "set" / "via.json").write_text(json.dumps(content))
    found = codes(tmp_path / "set")
    assert {code: [hit.index for hit in hits] for code, hits in found.items()} == {"D414": [5]}
    write_repaired(read_sources([tmp_path / "set"]), tmp_path / "copy")
    assert codes(tmp_path / "copy") == {}


@pytest.mark.parametrize("segmentation", [None, "", {}, [], [[]], [[], []], [None]])
def test_segmentations_of_nothing(coco_set: CocoSet, codes: Codes, segmentation: Any) -> None:
    coco_set.content["annotations"][3]["segmentation"] = segmentation
    found = codes(coco_set.save())
    assert set(found) == {"D209", "D211"}
    assert [hit.index for hit in found["D209"]] == [3]


@pytest.mark.parametrize("outlines", [True, False])
@pytest.mark.parametrize("signs", [(-1, 1), (1, -1), (-1, -1)])
def test_boxes_from_another_corner(
    coco_set: CocoSet, codes: Codes, tmp_path: Path, outlines: bool, signs: tuple[int, int]
) -> None:
    annotation = coco_set.content["annotations"][5]
    before = list(annotation["bbox"])
    for axis, sign in enumerate(signs):
        if sign < 0:
            annotation["bbox"][axis] += annotation["bbox"][axis + 2]
            annotation["bbox"][axis + 2] *= -1
    if not outlines:
        annotation["segmentation"] = []
    found = codes(coco_set.save())
    assert set(found) == {"D221"} | (set() if outlines else {"D209", "D211"})
    assert "negative" in found["D221"][0].text
    assert repaired(coco_set, tmp_path)["annotations"][5]["bbox"] == before


def test_a_box_that_cannot_be_read_beside_an_outline(coco_set: CocoSet, codes: Codes, tmp_path: Path) -> None:
    annotation = coco_set.content["annotations"][2]
    before = annotation["bbox"]
    annotation["bbox"] = [str(v).replace(".", ",") for v in before]
    assert set(codes(coco_set.save())) == {"D221"}
    np.testing.assert_allclose(repaired(coco_set, tmp_path)["annotations"][2]["bbox"], before)
    annotation["segmentation"] = []
    assert [hit.index for hit in codes(coco_set.save())["D002"]] == [2]


def test_a_coco_file_without_categories(coco_set: CocoSet, codes: Codes, tmp_path: Path) -> None:
    del coco_set.content["categories"]
    coco_set.save()
    found = codes(coco_set.train)
    assert set(found) == {"D002", "D409"}
    write_repaired(read_sources([coco_set.train]), tmp_path / "copy")
    copied = json.loads((tmp_path / "copy/_annotations.coco.json").read_text())
    assert copied["categories"] == [{"id": 1, "name": "1"}, {"id": 2, "name": "2"}]
    assert [a["category_id"] for a in copied["annotations"]] == [1 + i % 2 for i in range(24)]


def test_a_category_with_a_supercategory_only(coco_set: CocoSet, codes: Codes) -> None:
    for category in coco_set.content["categories"]:
        category["supercategory"] = category.pop("name")
    coco_set.save()
    found = codes(coco_set.train)
    assert set(found) == {"D413"}
    assert found["D413"][1].text == "the category 2 has no name, only the supercategory 'scratch'"


@pytest.mark.parametrize("name", ["none", "_background_", "N/A", "???", "Unknown", "un-labeled"])
def test_classes_that_say_nothing(coco_set: CocoSet, codes: Codes, name: str) -> None:
    coco_set.content["categories"][0]["name"] = name
    coco_set.save()
    found = codes(coco_set.train)
    assert [hit.text for hit in found.pop("D417")] == [f"{name!r}: 12"]
    assert found == {}


def test_entries_of_a_picture_with_the_same_objects(coco_set: CocoSet, codes: Codes) -> None:
    content = coco_set.content
    for image in list(content["images"][:2]):
        content["images"].append({**image, "id": image["id"] + 10})
    for a in list(content["annotations"][:7]):
        content["annotations"].append({**a, "id": a["id"] + 100, "image_id": a["image_id"] + 10})
    found = codes(coco_set.save())
    assert [hit.text.partition("listed as ")[2] for hit in found["D316"]] == [
        "0, 6, with the same objects",
        "1, 7",
    ]


def test_a_file_copied_over_that_of_another_split(coco_set: CocoSet, codes: Codes) -> None:
    for number, image in enumerate(coco_set.content["images"]):
        (coco_set.train / image["file_name"]).rename(coco_set.train / f"other{number}.jpg")
        image["file_name"] = f"other{number}.jpg"
    coco_set.save()
    val = coco_set.folder / "val" / "_annotations.coco.json"
    val.write_bytes((coco_set.train / "_annotations.coco.json").read_bytes())
    found = codes(coco_set.folder)
    assert set(found) == {"D101", "D311", "D321"}
    assert [(hit.file, hit.text) for hit in found["D321"]] == [(str(val), "val has what train has")]


@pytest.mark.parametrize(
    ("row", "text"),
    [
        ("1,0.5,0.25,0.25,0.125", "divided by commas"),
        ("1, 0.5, 0.25, 0.25, 0.125", "divided by commas"),
        ("1;0.5;0.25;0.25;0.125", "divided by commas"),
        ("1 0,5 0,25 0,25 0,125", "decimal commas"),
        ("1;0,5;0,25;0,25;0,125", "decimal commas"),
        ("1 0.5 0.25 0.25 0.125 0.75", "its score is 0.75"),
    ],
)
def test_rows_of_other_tools(tmp_path: Path, codes: Codes, row: str, text: str) -> None:
    write_photo(tmp_path / "set/images/a.jpg", 1)
    (tmp_path / "set/labels").mkdir()
    (tmp_path / "set/labels/a.txt").write_text(f"{row}\n0 0.25 0.25 0.125 0.125\n")
    (tmp_path / "set/data.yaml").write_text("names: [dent, scratch]\n")
    found = codes(tmp_path / "set")
    code = "D229" if "score" in text else "D221"
    assert set(found) == {code, "D211", "D411"}
    assert [hit.index for hit in found[code]] == [1]
    assert text in found[code][0].text
    (shape, _) = read_sources([tmp_path / "set"]).shapes
    assert shape.box == (WIDTH * 3 / 8, HEIGHT * 3 / 16, WIDTH * 5 / 8, HEIGHT * 5 / 16)
    write_repaired(read_sources([tmp_path / "set"]), tmp_path / "copy")
    first = (tmp_path / "copy/labels/a.txt").read_text().splitlines()[0]
    assert [float(v) for v in first.split()] == [1, 0.5, 0.25, 0.25, 0.125] + [0.75] * ("score" in text)
