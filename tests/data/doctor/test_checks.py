"""Each kind of finding, on sets spoiled in one way: its code is found, there, and no other is."""

from __future__ import annotations

import base64
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pycocotools.mask as mask_util
import pytest
from PIL import Image

from cardamage.data.doctor import all_checks, read_sources
from cardamage.data.doctor.model import Hit
from cardamage.errors import DataError

Codes = Callable[..., dict[str, list[Hit]]]


def shapes(coco_set: Any) -> list[dict[str, Any]]:
    return coco_set.content["annotations"]


def test_a_clean_set_has_no_finding(coco_set: Any, codes: Codes) -> None:
    assert codes(coco_set.save()) == {}
    assert codes(coco_set.folder / "train", coco_set.folder / "val") == {}


def test_every_check_is_told_apart() -> None:
    checks = all_checks()
    assert len({check.code for check in checks}) == len(checks) >= 60
    assert len({check.title for check in checks}) == len(checks)
    assert all(check.title and check.advice.endswith((".", "list.")) for check in checks)


def put(key: str, value: Any) -> Callable[[Any], None]:
    return lambda coco: shapes(coco)[2].update({key: value})


def outline(points: list[float], box: list[float] | None = None) -> Callable[[Any], None]:
    """Another outline for annotation 2, with its own box and no area to compare."""

    def spoil(coco: Any) -> None:
        xs, ys = points[::2], points[1::2]
        own = [min(xs), min(ys), max(xs) - min(xs), max(ys) - min(ys)]
        shapes(coco)[2].update(segmentation=[points], bbox=box or own)
        shapes(coco)[2].pop("area")

    return spoil


def repeat_id(coco: Any) -> None:
    shapes(coco)[2]["id"] = 1


def repeat_image(coco: Any) -> None:
    coco.content["images"][2]["id"] = 1
    for annotation in shapes(coco):
        if annotation["image_id"] == 3:
            annotation["image_id"] = 1


def double(coco: Any) -> None:
    shapes(coco)[2].update({**shapes(coco)[0], "id": 3})


def other_class(coco: Any) -> None:
    shapes(coco)[2].update({**shapes(coco)[0], "id": 3, "category_id": 2})


def run_length(counts: list[int], size: list[int]) -> Callable[[Any], None]:
    rle = {"counts": counts, "size": size}
    return lambda coco: shapes(coco)[2].update(segmentation=rle, bbox=[0, 0, 1, 1], area=1)


def category(number: int, name: str, used: bool = True) -> Callable[[Any], None]:
    def spoil(coco: Any) -> None:
        for content in (coco.content, json.loads(val(coco).read_text())):
            content["categories"].append({"id": number, "name": name})
            if used:
                own = [a for a in content["annotations"] if a["category_id"] == 1]
                for annotation in own[:6]:
                    annotation["category_id"] = number
            if content is not coco.content:
                val(coco).write_text(json.dumps(content))

    return spoil


def val(coco: Any) -> Path:
    return coco.folder / "val" / "_annotations.coco.json"


CASES: list[tuple[str, set[str], Callable[[Any], None]]] = [
    ("D221", set(), put("bbox", ["a", 1, 2, 3])),
    ("D002", set(), lambda coco: coco.content["annotations"].append("text")),
    ("D201", set(), outline([10, 10, 30, 40], [10, 10, 20, 30])),
    ("D202", set(), outline([200, 10, 230, 10, 215, 40])),
    ("D203", {"D207"}, outline([140, 10, 170, 10, 165, 40, 140, 45])),
    ("D203", {"D207"}, outline([-5, 10, 30, 10, 25, 40, 3, 45])),
    ("D204", set(), outline([10, 10, 60, 60, 60, 10, 10, 70])),
    ("D204", set(), outline([10, 10, 60, 10, 60, 60, 60, 20, 30, 60])),
    ("D205", set(), outline([10, 10, 20, 20, 30, 30])),
    ("D205", set(), outline([10, 10, 30, 10.0, 20, 10])),
    ("D206", set(), double),
    ("D207", {"D216"}, put("bbox", [100, 10, 80, 30])),
    ("D208", set(), outline([120, 10, 160.6, 10, 150, 40, 120, 45])),
    ("D209", {"D211"}, put("segmentation", [])),
    ("D210", set(), outline([10, 10, 50, 10, 50, 40, 10, 40])),
    ("D210", {"D213"}, outline([10, 10, 50, 10, 50, 40, 10, 40, 10, 10])),
    ("D211", set(), lambda coco: shapes(coco)[2].pop("segmentation")),
    ("D212", set(), put("area", 900)),
    ("D213", set(), outline([10, 10, 50, 12, 50, 40, 10, 10])),
    ("D214", set(), outline([10, 10, 50, 12, 50, 12, 50, 40])),
    ("D215", set(), run_length([5, 5], [120, 160])),
    ("D215", set(), run_length([160 * 120], [160, 120])),
    ("D205", set(), run_length([160 * 120], [120, 160])),
    ("D216", set(), put("bbox", [1, 1, 90, 90])),
    ("D217", set(), other_class),
    ("D218", set(), lambda coco: (shapes(coco)[2].pop("segmentation"), put("bbox", [5, 5, 0, 9])(coco))),
    ("D301", set(), repeat_id),
    ("D302", set(), put("id", 0)),
    ("D303", set(), repeat_image),
    ("D305", set(), put("image_id", 77)),
    ("D306", set(), put("category_id", 9)),
    ("D307", set(), lambda coco: coco.content["categories"].append({"id": 1, "name": "dent"})),
    ("D308", set(), put("id", None)),
    ("D401", set(), category(3, "rust", used=False)),
    ("D402", set(), category(3, "scratches")),
    ("D402", set(), category(3, "dnet")),
    ("D403", set(), category(3, "Dent")),
    ("D404", set(), category(3, "_background_", used=False)),
    ("D413", set(), category(3, " ")),
    ("D405", {"D401"}, lambda coco: coco.content["categories"].append({"id": 3, "name": "rust"})),
    ("D412", set(), outline([10, 10, 13, 10, 13, 13, 10, 12])),
    ("D114", set(), lambda coco: coco.content["images"][2].pop("height")),
    ("D316", {"D317"}, lambda coco: coco.content["images"].append({**coco.content["images"][0], "id": 9})),
]


@pytest.mark.parametrize(("code", "others", "spoil"), CASES)
def test_annotations(
    coco_set: Any, codes: Codes, code: str, others: set[str], spoil: Callable[[Any], None]
) -> None:
    spoil(coco_set)
    found = codes(coco_set.save())
    assert code in found
    # Some have no area, so that only one thing is wrong with the outline.
    assert found.keys() - {code} <= others | {"D317", "D224"}
    if code.startswith("D2"):
        last = found[code][-1]
        assert (Path(last.file), last.index) == (coco_set.train / "_annotations.coco.json", 2)


def test_a_broken_file_is_noted_and_the_others_are_read(coco_set: Any, codes: Codes) -> None:
    (coco_set.train / "_annotations.coco.json").write_text('{"images": [')
    found = codes(coco_set.folder)
    assert [Path(hit.file).parent.name for hit in found["D001"]] == ["train"]
    assert len(found["D311"]) == 6


def test_turned_and_scaled_pictures(coco_set: Any, codes: Codes) -> None:
    path = coco_set.train / "car2.jpg"
    picture = Image.open(path)
    exif = Image.Exif()
    exif[0x0112] = 6
    picture.save(path, exif=exif)
    picture.resize((80, 60)).save(coco_set.train / "car3.jpg")
    found = codes(coco_set.save())
    assert [Path(hit.file).name for hit in found["D111"]] == ["car2.jpg"]
    assert [hit.text for hit in found["D112"]] == [
        "is 120x160, its annotation says 160x120 (annotated before EXIF turned it)",
        "is 80x60, its annotation says 160x120",
    ]


def test_bad_picture_files(coco_set: Any, codes: Codes) -> None:
    folder = coco_set.train
    (folder / "car1.jpg").unlink()
    (folder / "car2.jpg").write_bytes((folder / "car2.jpg").read_bytes()[:700])
    (folder / "car3.jpg").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:1\nsize 1\n")
    (folder / "car4.jpg").write_text("<html>not found</html>")
    data = (folder / "car5.jpg").read_bytes()
    (folder / "car5.jpg").write_bytes(b"\xff\xd8\xff\xe0" + b"\x00\x10" + bytes(200) + data[-2:])
    Image.open(folder / "car6.jpg").save(folder / "car6.jpg", format="WebP")
    found = codes(coco_set.save())
    expected = ["D101", "D102", "D103", "D104", "D105", "D106"]
    assert [Path(found[code][0].file).name for code in expected] == [f"car{n}.jpg" for n in range(1, 7)]
    assert all(len(found[code]) == 1 for code in expected)
    assert found.keys() == set(expected)


def test_copies_within_and_across_splits(coco_set: Any, codes: Codes) -> None:
    train, val_folder = coco_set.folder / "train", coco_set.folder / "val"
    shutil.copy(train / "car1.jpg", train / "car2.jpg")
    shutil.copy(train / "car3.jpg", val_folder / "car3.jpg")
    smaller = Image.open(train / "car5.jpg").resize((80, 60)).resize((160, 120))
    smaller.save(val_folder / "car6.jpg", quality=60)
    Image.open(val_folder / "car1.jpg").save(val_folder / "car2.jpg", quality=50)
    found = codes(coco_set.save())
    assert found.keys() == {"D107", "D108", "D109"}
    assert [Path(hit.file).name for hit in found["D107"]] == ["car1.jpg"]
    assert [Path(hit.file).parent.name for hit in found["D108"]] == ["val"]
    assert {hit.text for hit in found["D109"]} == {
        "in train and val, byte for byte",
        "in train and val, nearly the same",
    }


def test_roboflow_copies(coco_set: Any, codes: Codes) -> None:
    for number, split in ((1, "train"), (2, "train"), (3, "val")):
        photo = coco_set.folder / split / f"car{number}.jpg"
        name = f"a_jpg.rf.{str(number) * 32}.jpg"
        photo.rename(photo.with_name(name))
        file = coco_set.folder / split / "_annotations.coco.json"
        content = coco_set.content if split == "train" else json.loads(file.read_text())
        content["images"][number - 1]["file_name"] = name
        file.write_text(json.dumps(content))
    found = codes(coco_set.save())
    assert found.keys() == {"D110"}
    assert len(found["D110"][0].others) == 2


def labelme(folder: Path, stem: str, seed: int, embed: bytes | None = None, **changes: Any) -> Path:
    """Write a Labelme file with one dent and its picture."""
    small = np.random.default_rng(seed).integers(0, 256, (9, 12, 3), dtype=np.uint8)
    cv2.imwrite(str(folder / f"{stem}.jpg"), cv2.resize(small, (160, 120), interpolation=cv2.INTER_CUBIC))
    shape = {"label": "dent", "points": [[10, 10], [50, 12], [40, 60]], "shape_type": "polygon"}
    content = {
        "version": "5.0.1",
        "flags": {},
        "shapes": [shape],
        "imagePath": f"{stem}.jpg",
        "imageData": base64.b64encode(embed).decode() if embed else None,
        "imageHeight": 120,
        "imageWidth": 160,
        **changes,
    }
    path = folder / f"{stem}.json"
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


def test_labelme_files(tmp_path: Path, codes: Codes) -> None:
    labelme(tmp_path, "other", 1)
    photos = {
        "same": (tmp_path / "other.jpg").read_bytes(),
    }
    labelme(tmp_path, "a", 2, embed=photos["same"])
    dent = {"label": "dent", "points": [[10, 10], [50, 12], [40, 60]]}
    odd = [
        {**dent, "label": ""},
        {**dent, "points": [["x", 1]]},
        {**dent, "shape_type": "point", "points": [[1, 2]]},
        {**dent, "shape_type": "mask", "mask": "%%"},
        {**dent, "shape_type": "rectangle", "points": [[90, 90], [60, 70]]},
        {**dent, "shape_type": "circle", "points": [[100, 30], [110, 30]]},
        "text",
    ]
    labelme(tmp_path, "b", 3, shapes=odd)
    labelme(tmp_path, "c", 4, imagePath="..\\gone\\c.jpeg")
    (tmp_path / "broken.json").write_text("{")
    (tmp_path / "notes.json").write_text("{}")
    found = codes(tmp_path)
    at = {code: [(Path(hit.file).name, hit.index) for hit in hits] for code, hits in found.items()}
    assert at["D113"] == [("a.json", None)]
    assert at["D408"] == [("b.json", 0)]
    assert at["D002"] == [("b.json", 1), ("b.json", 3), ("b.json", 6)]
    assert at["D220"] == [("b.json", 2)]
    assert at["D210"] == [("b.json", 4)]
    assert at["D117"] == [("c.json", None)]
    assert at["D001"] == [("broken.json", None)]
    assert at["D003"] == [("notes.json", None)]


def test_a_labelme_mask_is_placed(tmp_path: Path) -> None:
    patch = np.zeros((20, 30), np.uint8)
    patch[5:15, 4:20] = 255
    text = base64.b64encode(cv2.imencode(".png", patch)[1].tobytes()).decode()
    shape = {"label": "dent", "shape_type": "mask", "points": [[150, -3], [179, 16]], "mask": text}
    labelme(tmp_path, "a", 1, shapes=[shape])
    found = next(read_sources([tmp_path]).shapes)
    mask = mask_util.decode(found.rle)
    rows, columns = np.nonzero(mask)
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (2, 11, 154, 159)
    assert found.area == 60


def yolo(folder: Path, rows: dict[str, str], names: str = "[dent, scratch]") -> Path:
    (folder / "train" / "images").mkdir(parents=True)
    (folder / "train" / "labels").mkdir()
    for number, (stem, text) in enumerate(rows.items()):
        (folder / "train" / "labels" / f"{stem}.txt").write_text(text)
        small = np.random.default_rng(number).integers(0, 256, (9, 12, 3), dtype=np.uint8)
        picture = cv2.resize(small, (160, 120), interpolation=cv2.INTER_CUBIC)
        cv2.imwrite(str(folder / "train" / "images" / f"{stem}.jpg"), picture)
    (folder / "data.yaml").write_text(f"train: ../train/images\nnames: {names}\nnc: 2\n")
    return folder


def test_yolo_files(tmp_path: Path, codes: Codes) -> None:
    rows = {
        "a": "0 0.5 0.5 0.2 0.2\n1 0.1 0.1 0.3 0.12 0.2 0.4\n",
        "b": "0 a b\n7 0.5 0.5 0.2 0.2\n0 0.1 0.1 0.3\n1 10 10 90 12 50 60\n",
        "c": "",
    }
    folder = yolo(tmp_path, rows)
    (folder / "train/labels/gone.txt").write_text("0 0.5 0.5 0.2 0.2\n")
    (folder / "train/labels/c.txt").unlink()
    found = codes(folder)
    at = {code: [(Path(hit.file).name, hit.index) for hit in hits] for code, hits in found.items()}
    assert at["D211"][:2] == [("a.txt", 1), ("b.txt", 2)]
    assert at["D002"] == [("b.txt", 1), ("b.txt", 3)]
    assert at["D306"] == [("b.txt", 2)]
    assert at["D219"] == [("b.txt", 4)]
    assert at["D310"] == [("gone.txt", None)]
    assert at["D311"] == [("c.jpg", None)]
    assert "D312" not in found


def test_parts_joined_by_bridges_do_not_cross(tmp_path: Path, codes: Codes) -> None:
    there_and_back = "0.1 0.1 0.3 0.1 0.3 0.3 0.5 0.5 0.7 0.5 0.7 0.7 0.5 0.5 0.3 0.3"
    eight = "0.1 0.1 0.3 0.3 0.3 0.1 0.1 0.3"
    folder = yolo(tmp_path, {"a": f"0 {there_and_back}\n1 {eight}\n"})
    assert [hit.index for hit in codes(folder)["D204"]] == [2]
    one, other = next(iter(read_sources([folder]).shapes)).rings or []
    assert (len(one), len(other)) == (3, 3)


def test_yolo_yaml(tmp_path: Path, codes: Codes) -> None:
    folder = yolo(tmp_path, {"a": "0 0.1 0.1 0.3 0.12 0.2 0.4\n"}, "{0: dent, 2: rust}")
    (folder / "other.yaml").write_text("train: C:\\x\\images\nval: C:\\x\\images\nnames: [car]\n")
    found = codes(folder)
    assert {"D410", "D312", "D313", "D406"} <= found.keys()


def test_labels_beside_their_pictures_are_found(tmp_path: Path, codes: Codes) -> None:
    (tmp_path / "one").mkdir()
    folder = yolo(tmp_path / "one", {"a": "1 0.1 0.1 0.3 0.12 0.2 0.4\n"})
    (tmp_path / "flat").mkdir()
    for name in ("images/a.jpg", "labels/a.txt"):
        shutil.copy(folder / "train" / name, tmp_path / "flat")
    shutil.copy(folder / "data.yaml", tmp_path / "flat")
    assert [shape.label for shape in read_sources([tmp_path / "flat"]).shapes] == ["scratch"]
    assert [shape.label for shape in read_sources([folder / "train" / "labels"]).shapes] == ["1"]


def test_several_yolo_sets_keep_their_names(tmp_path: Path) -> None:
    for name, classes in (("one", "[dent, rust]"), ("two", "{0: lamp, 1: door}")):
        (tmp_path / name).mkdir()
        yolo(tmp_path / name, {"a": "1 0.1 0.1 0.3 0.12 0.2 0.4\n"}, classes)
    assert {shape.label for shape in read_sources([tmp_path]).shapes} == {"rust", "door"}


def test_via_files(tmp_path: Path, codes: Codes) -> None:
    cv2.imwrite(str(tmp_path / "a.jpg"), np.random.default_rng(1).integers(0, 256, (60, 80, 3), np.uint8))
    line = {"name": "polygon", "all_points_x": [1, 20, 60], "all_points_y": [1, 50]}
    good = {"name": "polygon", "all_points_x": [1, 20, 60], "all_points_y": [1, 50, 20]}
    regions = [
        {"shape_attributes": good, "region_attributes": {"kind": "dent"}},
        {"shape_attributes": good, "region_attributes": {}},
        {"shape_attributes": line, "region_attributes": {"kind": "dent"}},
        {"shape_attributes": {"name": "point", "cx": 1, "cy": 2}, "region_attributes": {"kind": "dent"}},
        "text",
    ]
    content = {"a.jpg1": {"filename": "a.jpg", "size": 1, "regions": regions}, "b": {"size": 3}}
    (tmp_path / "via.json").write_text(json.dumps(content))
    found = codes(tmp_path)
    at = {code: [hit.index for hit in hits] for code, hits in found.items()}
    assert at["D408"] == [1]
    assert at["D002"] == [4, 1, 2]
    assert at["D220"] == [3]


def test_names_of_pictures_are_no_splits(tmp_path: Path) -> None:
    for name in ("train1", "test1", "sub/val1"):
        file = tmp_path / "photos" / f"{name}.jpg"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (60, 40)).save(file)
        shape = {"label": "dent", "points": [[10, 10], [20, 10], [20, 20]], "shape_type": "polygon"}
        content = {"shapes": [shape], "imagePath": file.name, "imageData": None}
        file.with_suffix(".json").write_text(json.dumps(content))
    assert {picture.split for picture in read_sources([tmp_path / "photos"]).pictures} == {""}
    (tmp_path / "photos/sub").rename(tmp_path / "photos/testset")
    assert [picture.split for picture in read_sources([tmp_path / "photos"]).pictures].count("test") == 1


def test_a_split_without_labels_is_one_of_several(coco_set: Any, codes: Codes) -> None:
    coco_set.save()
    (coco_set.folder / "test").mkdir()
    shutil.copy(coco_set.train / "car1.jpg", coco_set.folder / "test" / "car.jpg")
    found = codes(*(coco_set.folder / split for split in ("train", "val", "test")))
    assert found.keys() == {"D109", "D311"}
    with pytest.raises(DataError, match="holds no annotations"):
        codes(coco_set.folder / "test")


@pytest.mark.parametrize("name", ["nothing", "empty"])
def test_sources_without_annotations_are_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="does not exist|holds no annotations"):
        read_sources([tmp_path / name])


def test_an_unknown_format_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="did you mean coco"):
        read_sources([tmp_path], "cocoo")
