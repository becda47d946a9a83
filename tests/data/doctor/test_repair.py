"""Repaired copies: what is listed as repaired is not found there again, and nothing else is lost."""

from __future__ import annotations

import base64
import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from cardamage.data.doctor import all_checks, find_all, read_sources
from cardamage.data.doctor.model import Hit
from cardamage.data.doctor.repair import Repair, write_repaired
from cardamage.data.doctor.repair.pictures import untagged
from cardamage.errors import DataError
from tests.support.paths import SHARED_DATA

FIXED = {check.code for check in all_checks() if check.fix} - {"D112", "D310"}

Codes = Callable[..., dict[str, list[Hit]]]


def fix(folder: Path, target: Path) -> list[Repair]:
    return write_repaired(read_sources([folder]), target)


def digests(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(f.relative_to(folder)): hashlib.md5(f.read_bytes()).hexdigest() for f in files}


def shape_of(coco_set: Any, index: int) -> dict[str, Any]:
    return coco_set.content["annotations"][index]


def spoil_everything(coco: Any) -> None:
    """One mistake in each of the first annotations; the last ones stay good."""
    changes: list[dict[str, Any]] = [
        {"segmentation": [[10, 10, 30, 40]]},
        {"segmentation": [[200, 10, 230, 10, 215, 40]], "bbox": [200, 10, 30, 30]},
        {"segmentation": [[-5, 10, 30, 10, 25, 40, 3, 45]], "bbox": [-5, 10, 35, 35]},
        {"segmentation": [[10, 10, 20, 20, 30, 30]]},
        {"segmentation": [[70, 10, 90, 12, 90, 40, 70, 10]], "bbox": [70, 10, 20, 30]},
        {"bbox": [1, 1, 90, 90]},
        {"area": 3},
        {"id": 0},
        {"id": 10},
        {"image_id": 77},
        {"category_id": 9},
        {"segmentation": {"size": [3, 3], "counts": [9]}},
    ]
    for annotation, change in zip(coco.content["annotations"], changes, strict=False):
        annotation.update(change)
    annotations = coco.content["annotations"]
    annotations.append({**annotations[20], "id": 900})
    coco.content["categories"] += [{"id": 0, "name": "_background_"}, {"id": 5, "name": "Dent"}]
    annotations[21]["category_id"] = 5
    coco.content["images"][4]["id"] = coco.content["images"][4].pop("id")
    del coco.content["images"][4]["height"]


def test_coco(coco_set: Any, codes: Codes, tmp_path: Path) -> None:
    spoil_everything(coco_set)
    before = codes(coco_set.save())
    files = digests(coco_set.folder)
    repairs = fix(coco_set.folder, tmp_path / "copy")
    assert digests(coco_set.folder) == files
    after = codes(tmp_path / "copy")
    assert not after.keys() & FIXED
    content = json.loads((tmp_path / "copy/train/_annotations.coco.json").read_text())
    # 25, without 0, 1, 3, 9 (no image), 10 (no class), 11 (mask) and the double.
    assert len(content["annotations"]) == 18
    assert [a["id"] for a in content["annotations"]] == list(range(1, 19))
    assert content["categories"] == [{"id": 1, "name": "dent"}, {"id": 2, "name": "scratch"}]
    assert content["images"][4]["height"] == 120
    told = {repair.code for repair in repairs}
    assert {"D201", "D202", "D203", "D205", "D206", "D212", "D216", "D305", "D306", "D403"} <= told
    assert {"D201", "D202", "D203", "D205", "D206", "D305", "D306", "D403"} <= before.keys()
    lines = (tmp_path / "copy/repairs.txt").read_text().splitlines()
    assert len(lines) == len(repairs)
    untouched = json.loads((coco_set.folder / "train/_annotations.coco.json").read_text())["annotations"][16]
    same = [a for a in content["annotations"] if a["segmentation"] == untouched["segmentation"]]
    assert len(same) == 1
    assert {k: v for k, v in same[0].items() if k != "id"} == {
        k: v for k, v in untouched.items() if k != "id"
    }


def test_an_outline_of_which_nothing_is_left_is_dropped(coco_set: Any, codes: Codes, tmp_path: Path) -> None:
    sliver = [159.9, 10, 200, 10, 200, 30, 159.9, 30.3]
    shape_of(coco_set, 2).update(segmentation=[sliver], bbox=[159.9, 10, 40.1, 20.3])
    coco_set.save()
    repairs = fix(coco_set.folder, tmp_path / "copy")
    assert codes(tmp_path / "copy") == {}
    assert [r.index for r in repairs if "dropped" in r.text] == [2]


def test_a_clean_set_is_copied_as_it_is(coco_set: Any, tmp_path: Path) -> None:
    coco_set.save()
    (coco_set.folder / "LICENSE").write_text("free")
    assert fix(coco_set.folder, tmp_path / "copy") == []
    original, copy = digests(coco_set.folder), digests(tmp_path / "copy")
    copy.pop("repairs.txt")
    assert copy.keys() == original.keys()
    assert {n for n in copy if copy[n] != original[n]} <= {n for n in copy if n.endswith(".json")}
    for split in ("train", "val"):
        name = f"{split}/_annotations.coco.json"
        both = [json.loads((f / name).read_text()) for f in (coco_set.folder, tmp_path / "copy")]
        assert both[0] == both[1]


def test_pictures(coco_set: Any, codes: Codes, tmp_path: Path) -> None:
    folder = coco_set.train
    (folder / "car1.jpg").unlink()
    (folder / "car2.jpg").write_bytes((folder / "car2.jpg").read_bytes()[:700])
    Image.open(folder / "car3.jpg").save(folder / "car3.jpg", format="WebP", lossless=True)
    exif = Image.Exif()
    exif[0x0112] = 6
    exif[0x010F] = "maker"
    Image.open(folder / "car4.jpg").save(folder / "car4.jpg", exif=exif)
    Image.open(folder / "car5.jpg").save(folder / "car5.jpg", exif=exif)
    coco_set.content["images"][4].update(height=160, width=120)
    coco_set.save()
    repairs = fix(coco_set.folder, tmp_path / "copy")
    assert codes(tmp_path / "copy") == {}
    content = json.loads((tmp_path / "copy/train/_annotations.coco.json").read_text())
    names = [image["file_name"] for image in content["images"]]
    assert names == ["car3.webp", "car4.jpg", "car5.jpg", "car6.jpg"]
    assert {a["image_id"] for a in content["annotations"]} == {3, 4, 5, 6}
    # Annotated before the turn: the same pixels, only the tag is gone.
    plain = cv2.imread(str(tmp_path / "copy/train/car4.jpg"), cv2.IMREAD_IGNORE_ORIENTATION | 1)
    stored = cv2.imread(str(folder / "car4.jpg"), cv2.IMREAD_IGNORE_ORIENTATION | 1)
    assert (plain == stored).all()
    assert Image.open(tmp_path / "copy/train/car4.jpg").getexif()[0x010F] == "maker"
    upright = cv2.imread(str(tmp_path / "copy/train/car5.jpg"))
    turned = cv2.imread(str(folder / "car5.jpg"))
    assert upright.shape == turned.shape == (160, 120, 3)
    assert np.abs(upright.astype(int) - turned).mean() < 2
    left_out = [repair for repair in repairs if "left out with its" in repair.text]
    assert [repair.text for repair in left_out] == [
        "car1.jpg left out with its 4 objects",
        "car2.jpg left out with its 4 objects",
    ]


@pytest.mark.parametrize("data", [b"", b"\xff\xd8\xff\xe1\x00\x10Exif\x00\x00", b"Exif\x00\x00MM\x00*\xff"])
def test_bytes_without_a_tag_are_not_untagged(data: bytes) -> None:
    assert untagged(data) is None


def test_labelme(tmp_path: Path, codes: Codes) -> None:
    folder = tmp_path / "set" / "json"
    folder.mkdir(parents=True)
    photo = cv2.imencode(".png", np.random.default_rng(1).integers(0, 256, (120, 160, 3), np.uint8))[1]
    (folder.parent / "images").mkdir()
    (folder.parent / "images" / "a.png").write_bytes(photo.tobytes())
    dent = {"label": "dent", "points": [[10, 10], [50, 12], [40, 60]], "group_id": 3, "flags": {"x": True}}
    shapes = [
        dent,
        {**dent, "points": [[100, -8], [150, 12], [140, 60]]},
        {**dent, "label": ""},
        {**dent, "points": [[1, 1]]},
        {**dent, "label": "Dent", "points": [[60, 10], [90, 12], [80, 60]]},
        dent,
        {**dent, "shape_type": "linestrip", "points": [[100, 110], [150, 125]]},
    ]
    content = {"version": "5", "shapes": shapes, "imagePath": "C:\\x\\a.png", "note": 7, "imageData": None}
    (folder / "a.json").write_text(json.dumps(content))
    embedded = {**content, "imageData": base64.b64encode(photo.tobytes()).decode(), "shapes": [dent]}
    (folder / "b.json").write_text(json.dumps({**embedded, "imageHeight": 120, "imageWidth": 160}))
    (folder / "gone.json").write_text(json.dumps({**content, "imagePath": "gone.png"}))
    fix(folder.parent, tmp_path / "copy")
    # One is embedded, and its imagePath leads nowhere as before.
    assert codes(tmp_path / "copy").keys() & FIXED <= {"D203", "D208", "D117"}
    copy = json.loads((tmp_path / "copy/json/a.json").read_text())
    assert copy["note"] == 7
    assert copy["imagePath"] == "../images/a.png"
    assert (copy["imageHeight"], copy["imageWidth"]) == (120, 160)
    assert [shape["label"] for shape in copy["shapes"]] == ["dent"] * 4
    assert copy["shapes"][0] == dent
    assert min(y for _, y in copy["shapes"][1]["points"]) == 0
    assert copy["shapes"][1]["group_id"] == 3
    # A line is a line still, though it runs past the edge.
    assert copy["shapes"][3] == shapes[6]
    assert json.loads((tmp_path / "copy/json/b.json").read_text())["imageData"] == embedded["imageData"]
    assert not (tmp_path / "copy/json/gone.json").exists()


def test_yolo(tmp_path: Path, codes: Codes) -> None:
    folder = tmp_path / "set"
    (folder / "train/images").mkdir(parents=True)
    (folder / "train/labels").mkdir()
    small = np.random.default_rng(0).integers(0, 256, (9, 12, 3), dtype=np.uint8)
    cv2.imwrite(str(folder / "a.png"), cv2.resize(small, (160, 120)))
    shutil.move(folder / "a.png", folder / "train/images/a.jpg")
    rows = [
        "0 0.1 0.1 0.3 0.12 0.2 0.4",
        "2 0.95 0.5 0.2 0.2",
        "1 0.5 0.5 0.3 0.12",
        "1 0.9 0.1 1.1 0.12 0.95 0.4",
        "0 nothing",
        "9 0.5 0.5 0.2 0.2",
        "1 0.1 0.1 0.1 0.1 0.1 0.1",
        "1 40 50 90 60 70 90",
    ]
    (folder / "train/labels/a.txt").write_text("\n".join(rows))
    (folder / "train/labels/gone.txt").write_text(rows[0])
    yaml = "train: train/images\nnames: [dent, scratch, Dent]\nnc: 3\nroboflow: {version: 1}\n"
    (folder / "data.yaml").write_text(yaml)
    fix(folder, tmp_path / "copy")
    found = codes(tmp_path / "copy")
    assert not found.keys() & FIXED
    assert "D219" in found
    lines = (tmp_path / "copy/train/labels/a.txt").read_text().splitlines()
    assert lines[0] == rows[0]
    assert lines[1].split()[0] == "0"
    np.testing.assert_allclose([float(v) for v in lines[1].split()[1:]], [0.925, 0.5, 0.15, 0.2], atol=1e-6)
    assert lines[2] == rows[2]
    assert max(float(v) for v in lines[3].split()[1::2]) == 1
    assert lines[4] == rows[7]
    assert len(lines) == 5
    assert "Dent" not in (tmp_path / "copy/data.yaml").read_text()
    assert (tmp_path / "copy/train/images/a.png").is_file()
    assert not (tmp_path / "copy/train/labels/gone.txt").exists()


def test_via(tmp_path: Path, codes: Codes) -> None:
    folder = tmp_path / "set"
    folder.mkdir()
    cv2.imwrite(str(folder / "a.jpg"), np.random.default_rng(1).integers(0, 256, (60, 80, 3), np.uint8))
    good = {"name": "polygon", "all_points_x": [1, 20, 60], "all_points_y": [1, 50, 20]}
    past = {"name": "polygon", "all_points_x": [60, 90, 70], "all_points_y": [1, 50, 20]}
    kind = {"kind": "dent", "note": "x"}
    regions = [
        {"shape_attributes": good, "region_attributes": kind},
        {"shape_attributes": past, "region_attributes": {"kind": "Dent"}},
        {"shape_attributes": good, "region_attributes": {}},
    ]
    content = {
        "_via_settings": {"a": 1},
        "_via_img_metadata": {"a.jpg1": {"filename": "a.jpg", "size": 1, "regions": regions}},
    }
    (folder / "via.json").write_text(json.dumps(content))
    cells = json.dumps(good).replace('"', '""')
    row = f'a.jpg,1,"{{}}",1,0,"{cells}","{{""kind"":""dent"",""type"":undefined}}"'
    head = (
        "filename,file_size,file_attributes,region_count,region_id,region_shape_attributes,region_attributes"
    )
    (folder / "via.csv").write_text(f"{head}\n{row}\n")
    fix(folder, tmp_path / "copy")
    assert not codes(tmp_path / "copy").keys() & FIXED
    copy = json.loads((tmp_path / "copy/via.json").read_text())
    assert copy["_via_settings"] == {"a": 1}
    kept = copy["_via_img_metadata"]["a.jpg1"]["regions"]
    assert kept[0] == regions[0]
    assert kept[1]["region_attributes"] == {"kind": "dent"}
    assert max(kept[1]["shape_attributes"]["all_points_x"]) == 80
    assert len(kept) == 2


def test_pictures_outside_of_the_source_do_not_meet(coco_set: Any, codes: Codes, tmp_path: Path) -> None:
    (coco_set.folder / "annotations").mkdir()
    for split in ("train", "val"):
        (coco_set.folder / split).rename(coco_set.folder / f"{split}2")
    content = coco_set.content
    for image in content["images"]:
        image["file_name"] = f"{'train2' if image['id'] < 4 else 'val2'}/car{image['id'] % 3 + 1}.jpg"
    file = coco_set.folder / "annotations" / "all.json"
    file.write_text(json.dumps(content))
    subject = read_sources([file])
    assert find_all(subject) == []
    write_repaired(subject, tmp_path / "copy")
    copied = read_sources([tmp_path / "copy"])
    assert find_all(copied) == []
    pairs = zip(subject.pictures, copied.pictures, strict=True)
    assert all(subject.look(a.source).digest == copied.look(b.source).digest for a, b in pairs)


def test_a_target_that_could_lose_something_is_refused(coco_set: Any, tmp_path: Path) -> None:
    coco_set.save()
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine").write_text("x")
    with pytest.raises(DataError, match="is there already"):
        fix(coco_set.folder, tmp_path / "full")
    with pytest.raises(DataError, match="lies in"):
        fix(coco_set.folder, coco_set.folder / "copy")


@pytest.mark.skipif(not SHARED_DATA.is_dir(), reason="the real photographs are not here")
@pytest.mark.parametrize(
    "name",
    ["damage-coco", "damage-via", "damage-labelme", "odd/odd-yolobox/surya", "odd/odd-yolobox/lujaina"],
)
def test_real_sets(codes: Codes, tmp_path: Path, name: str) -> None:
    subject = read_sources([SHARED_DATA / name])
    before = sum(len(picture.shapes) for picture in subject.pictures if picture.source)
    repairs = write_repaired(subject, tmp_path / "copy")
    after = read_sources([tmp_path / "copy"])
    found = {finding.check.code for finding in find_all(after)}
    assert not found & FIXED - {"D117"}
    dropped = sum("dropped:" in repair.text for repair in repairs)
    assert sum(len(picture.shapes) for picture in after.pictures) == before - dropped
    assert dropped <= 2
