"""Oddities of exports by other tools: what is found, and that nothing else is told of it."""

from __future__ import annotations

import json
import os
import shutil
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import pytest

from cardamage.data.doctor import read_sources
from cardamage.data.doctor.model import Hit
from cardamage.data.doctor.repair.fixing import write_repaired
from cardamage.errors import DataError

from .conftest import HEIGHT, WIDTH, pentagon, write_photo

Codes = Callable[..., dict[str, list[Hit]]]


def rename(coco_set: Any, named: Callable[[str], str], kept: Callable[[str], str] = str) -> Path:
    """Name the pictures otherwise in the annotations, and the files perhaps too."""
    for image in coco_set.content["images"]:
        file = coco_set.train / image["file_name"]
        file.rename(file.with_name(kept(file.name)))
        image["file_name"] = named(image["file_name"])
    return Path(coco_set.save())


@pytest.mark.parametrize(
    ("named", "kept"),
    [
        (lambda name: f"D:\\cars\\train\\{name}", str),
        (lambda name: f"/content/drive/MyDrive/cars/train/{name}", str),
        (lambda name: f"https://host.example/a/{name}", str),
        (lambda name: f"../elsewhere/{name}", str),
        (lambda name: f"my%20{name}", lambda name: f"my {name}"),
        (lambda name: name.upper(), str),
        (lambda name: name.removesuffix(".jpg"), str),
        (lambda name: f"é{name}", lambda name: unicodedata.normalize("NFD", "é") + name),
    ],
    ids=["windows", "colab", "address", "folder above", "percent", "case", "no suffix", "accents"],
)
def test_pictures_under_another_path(
    coco_set: Any, codes: Codes, tmp_path: Path, named: Callable[[str], str], kept: Callable[[str], str]
) -> None:
    found = codes(rename(coco_set, named, kept))
    assert set(found) == {"D120"}
    assert [hit.index for hit in found["D120"]] == list(range(6))
    write_repaired(read_sources([coco_set.folder]), tmp_path / "copy")
    assert codes(tmp_path / "copy") == {}


def test_of_two_files_of_a_name_none_is_taken(coco_set: Any, codes: Codes) -> None:
    for image in coco_set.content["images"]:
        file = coco_set.train / image["file_name"]
        for folder in "ab":
            (coco_set.folder / folder).mkdir(exist_ok=True)
            shutil.copyfile(file, coco_set.folder / folder / file.name)
        file.unlink()
    # Those of the other split have these names too.
    for image in coco_set.content["images"]:
        image["file_name"] = f"x/{image['file_name']}"
    found = codes(coco_set.save())
    assert len(found["D101"]) == 6
    assert "D120" not in found


def test_one_file_in_the_lists_of_two_splits(coco_set: Any, codes: Codes) -> None:
    folder = coco_set.folder / "one"
    (folder / "annotations").mkdir(parents=True)
    shutil.copytree(coco_set.train, folder / "images")
    whole = coco_set.content
    for name, images in (("train", whole["images"][:4]), ("val", whole["images"][3:])):
        ids = {image["id"] for image in images}
        held = [a for a in whole["annotations"] if a["image_id"] in ids]
        content = {**whole, "images": images, "annotations": held}
        (folder / "annotations" / f"{name}.json").write_text(json.dumps(content), encoding="utf-8")
    found = codes(folder)
    assert [(Path(hit.file).name, hit.text) for hit in found["D109"]] == [
        ("car4.jpg", "one file, listed in train and val")
    ]


def test_a_file_that_holds_all_the_others_do(coco_set: Any, codes: Codes) -> None:
    folder = coco_set.folder
    whole = json.loads((folder / "val" / "_annotations.coco.json").read_text())
    for image in whole["images"]:
        image["file_name"] = f"val/{image['file_name']}"
    for image in coco_set.content["images"]:
        whole["images"].append({**image, "id": image["id"] + 50, "file_name": f"train/{image['file_name']}"})
    for a in coco_set.content["annotations"]:
        whole["annotations"].append({**a, "id": a["id"] + 500, "image_id": a["image_id"] + 50})
    (coco_set.save() / "all.json").write_text(json.dumps(whole), encoding="utf-8")
    found = codes(folder)
    assert set(found) == {"D315"}
    assert [(Path(hit.file).name, len(hit.others)) for hit in found["D315"]] == [("all.json", 2)]


def voc(folder: Path) -> None:
    (folder / "a.xml").write_text("<annotation><object><bndbox/></object></annotation>", encoding="utf-8")


def of_json(name: str, content: Any) -> Callable[[Path], None]:
    return lambda folder: (folder / name).write_text(json.dumps(content), encoding="utf-8") and None


@pytest.mark.parametrize(
    ("write", "named"),
    [
        (voc, "Pascal VOC"),
        (lambda folder: (folder / "a.xml").write_text("<annotations><version/>"), "CVAT"),
        (lambda folder: (folder / "a.csv").write_text("filename,width,xmin,ymin\na,1,2,3\n"), "csv of boxes"),
        (lambda folder: (folder / "a.zip").write_bytes(b"PK\3\4"), "unpacked"),
        (of_json("a.json", {"items": [], "categories": {}}), "Datumaro"),
        (of_json("a.json", {"objects": [], "size": {}}), "Supervisely"),
        (of_json("a.json", [{"id": 1, "data": {}, "annotations": []}]), "Label Studio"),
        (of_json("a.json", [{"image": "a.jpg", "annotations": []}]), "CreateML"),
        (of_json("a.json", [{"image_id": 1, "category_id": 1, "bbox": []}]), "results"),
        (of_json("a.json", {"project": {}, "metadata": {}, "file": {}}), "VIA 3"),
        (of_json("a.json", {"a.jpg": {"instances": []}}), "SuperAnnotate"),
    ],
)
def test_formats_that_are_not_read_are_named(
    tmp_path: Path, coco_set: Any, codes: Codes, write: Callable[[Path], object], named: str
) -> None:
    (tmp_path / "other").mkdir()
    write(tmp_path / "other")
    with pytest.raises(DataError, match=f"holds no annotations .* It holds .*{named}"):
        read_sources([tmp_path / "other"])
    write(coco_set.save())
    found = codes(coco_set.folder)
    assert set(found) == {"D005"}
    assert named in found["D005"][0].text


def test_vehide(tmp_path: Path, codes: Codes) -> None:
    content = {}
    for number in range(3):
        name = f"{number}.jpg"
        write_photo(tmp_path / "image" / name, number)
        outlines = [pentagon(5, 5), pentagon(60, 50)]
        regions = [{"all_x": o[::2], "all_y": o[1::2], "class": "tray_son"} for o in outlines]
        content[name] = {"name": name, "regions": regions}
    content["2.jpg"]["regions"].append({"all_x": [1, 2], "all_y": [1], "class": "tray_son"})
    (tmp_path / "0Train_via_annos.json").write_text(json.dumps(content), encoding="utf-8")
    subject = read_sources([tmp_path / "0Train_via_annos.json"], image_root=tmp_path / "image")
    assert {shape.label for shape in subject.shapes} == {"scratch"}
    assert {shape.size for shape in subject.shapes} == {(HEIGHT, WIDTH)}
    assert [len(picture.shapes) for picture in subject.pictures] == [2, 2, 2]
    assert len(codes(tmp_path)["D002"]) == 1
    with pytest.raises(DataError, match="VehiDE's files can't be repaired"):
        write_repaired(subject, tmp_path / "copy")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no pipes among the files here")
def test_pipes_and_devices_are_not_waited_for(coco_set: Any, codes: Codes) -> None:
    picture = coco_set.train / "car1.jpg"
    picture.unlink()
    os.mkfifo(picture)
    os.mkfifo(coco_set.train / "more.json")
    (coco_set.train / "device.jpg").symlink_to("/dev/zero")
    found = codes(coco_set.save())
    assert set(found) == {"D001", "D101", "D311"}
    assert "device or pipe" in found["D001"][0].text
    assert {Path(hit.file).name for hit in found["D101"]} == {"car1.jpg", "device.jpg"}


@pytest.mark.parametrize(("split", "code"), [("train", "D108"), ("val", "D109")])
def test_a_photo_and_its_mirror_image(coco_set: Any, codes: Codes, split: str, code: str) -> None:
    first = coco_set.train / "car1.jpg"
    cv2.imwrite(str(coco_set.folder / split / "car2.jpg"), cv2.imread(str(first))[:, ::-1])
    found = codes(coco_set.save())
    assert set(found) == {code}
    assert {Path(p).name for p in (found[code][0].file, *found[code][0].others)} == {"car1.jpg", "car2.jpg"}
    assert "mirror" in found[code][0].text


def test_a_jpeg_of_which_the_end_is_lost(coco_set: Any, codes: Codes) -> None:
    file = coco_set.train / "car1.jpg"
    data = file.read_bytes()
    # As programs write it that close what they could read, and as others save that again.
    file.write_bytes(data[: len(data) * 2 // 3] + b"\xff\xd9")
    cv2.imwrite(str(coco_set.train / "car5.jpg"), cv2.imread(str(file)))
    picture = cv2.imread(str(coco_set.train / "car2.jpg"))
    for name, grey, top in (("car2.jpg", 255, 0), ("car3.jpg", 0, 0), ("car4.jpg", 114, 20)):
        padded = picture.copy()
        padded[100:] = grey
        padded[:top] = grey
        cv2.imwrite(str(coco_set.train / name), cv2.flip(padded, 1) if grey else padded)
    found = codes(coco_set.save())
    assert [(Path(hit.file).name, hit.text[:10]) for hit in found["D122"]] == [("car5.jpg", "the lower ")]
    assert [Path(hit.file).name for hit in found["D123"]] == ["car1.jpg"]
    assert "its data ends before the picture does; the lower " in found["D123"][0].text
