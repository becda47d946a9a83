"""Labels and pictures that lie, or are called, otherwise than readers expect."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from cardamage.data.doctor import read_sources
from cardamage.data.doctor.model import Hit
from cardamage.data.doctor.repair.fixing import write_repaired
from cardamage.data.doctor.tables import overview
from cardamage.data.formats.labelme import load_labelme

from .conftest import HEIGHT, WIDTH, pentagon, write_photo

Codes = Callable[..., dict[str, list[Hit]]]
SHARE = (WIDTH, HEIGHT) * 5


def yolo_set(folder: Path, images: str = "images", labels: str = "labels") -> Path:
    """Three photos with six outlines each of two classes."""
    for number in range(3):
        write_photo(folder / images / f"{number}.jpg", number)
        (folder / labels).mkdir(parents=True, exist_ok=True)
        rows = []
        for index in range(8):
            ring = np.array(pentagon(5 + 37 * (index % 4), 8 + 55 * (index // 4))) / SHARE
            rows.append(f"{index % 2} " + " ".join(f"{v:.6f}" for v in ring))
        (folder / labels / f"{number}.txt").write_text("\n".join(rows))
    (folder / "data.yaml").write_text("names: [dent, scratch]\n")
    return folder


def test_the_sets_of_these_tests_are_clean(tmp_path: Path, codes: Codes) -> None:
    for kind, make in (("yolo", yolo_set), ("labelme", labelme_set)):
        folder = tmp_path / kind / "set"
        folder.mkdir(parents=True)
        assert codes(make(folder)) == {}


@pytest.mark.parametrize("labels", ["annotations", "Labels", "txt"])
def test_labels_in_another_folder(tmp_path: Path, codes: Codes, labels: str) -> None:
    found = codes(yolo_set(tmp_path, labels=labels))
    assert {code: [Path(hit.file).name for hit in hits] for code, hits in found.items()} == {"D318": [labels]}
    assert sum(1 for _ in read_sources([tmp_path]).shapes) == 24


def test_labels_of_upper_case(tmp_path: Path, codes: Codes) -> None:
    for path in (yolo_set(tmp_path) / "labels").glob("*.txt"):
        path.rename(path.with_suffix(".TXT"))
    assert [hit.text for hit in codes(tmp_path)["D318"]] == ["3 label files are called .TXT, not .txt"]


@pytest.mark.parametrize("place", ["labels/classes.txt", "classes.txt", "obj.names"])
def test_files_of_names_are_no_labels(tmp_path: Path, codes: Codes, place: str) -> None:
    (yolo_set(tmp_path) / "data.yaml").unlink()
    (tmp_path / place).write_text("dent\nscratch\n")
    assert codes(tmp_path) == {}
    assert read_sources([tmp_path]).parts[-1].classes == ["dent", "scratch"]


def test_what_a_mac_puts_beside_files(tmp_path: Path, codes: Codes) -> None:
    yolo_set(tmp_path)
    for path in [*tmp_path.rglob("*.jpg"), *tmp_path.rglob("*.txt")]:
        for place in (path.parent, tmp_path / "__MACOSX" / path.parent.name):
            place.mkdir(parents=True, exist_ok=True)
            (place / f"._{path.name}").write_bytes(b"\0\5\x16\7")
    notebook = tmp_path / "labels" / ".ipynb_checkpoints"
    notebook.mkdir()
    shutil.copyfile(tmp_path / "labels" / "1.txt", notebook / "1-checkpoint.txt")
    assert codes(tmp_path) == {}


def test_names_with_commas_and_labels_with_two_suffixes(tmp_path: Path, codes: Codes) -> None:
    folder, copy = tmp_path / "set", tmp_path / "copy"
    folder.mkdir()
    (yolo_set(folder) / "data.yaml").write_text("names: dent, scratch\n")
    (folder / "labels" / "1.txt").rename(folder / "labels" / "1.jpg.txt")
    (folder / "labels" / "2.txt").write_bytes("0 rayé".encode("latin-1"))
    found = codes(folder)
    assert set(found) - {"D411"} == {"D410", "D310", "D311", "D001", "D317"}
    assert "it has the picture's suffix in its own" in found["D310"][0].text
    write_repaired(read_sources([folder]), copy)
    assert sorted(path.name for path in (copy / "labels").iterdir()) == ["0.txt"]


def labelme_set(folder: Path) -> Path:
    """Three photos with eight outlines each of two classes."""
    for number in range(3):
        write_photo(folder / f"{number}.jpg", number)
        shapes = [
            {
                "label": ("dent", "scratch")[index % 2],
                "points": np.reshape(pentagon(5 + 37 * (index % 4), 8 + 55 * (index // 4)), (-1, 2)).tolist(),
                "shape_type": "polygon",
                "group_id": None,
            }
            for index in range(8)
        ]
        content = {"shapes": shapes, "imagePath": f"{number}.jpg", "imageData": None}
        content |= {"imageHeight": HEIGHT, "imageWidth": WIDTH}
        (folder / f"{number}.json").write_text(json.dumps(content))
    return folder


def change(file: Path, changed: Callable[[dict[str, list[dict[str, object]]]], None]) -> None:
    content = json.loads(file.read_text())
    changed(content)
    file.write_text(json.dumps(content))


def test_two_labelme_files_of_one_picture(tmp_path: Path, codes: Codes) -> None:
    shutil.copyfile(labelme_set(tmp_path) / "1.json", tmp_path / "1 (copy).json")
    found = codes(tmp_path)
    assert set(found) == {"D316"}
    assert "also about 1.jpg" in found["D316"][0].text


def test_the_picture_of_another_labelme_file(tmp_path: Path, codes: Codes) -> None:
    change(labelme_set(tmp_path) / "1.json", lambda content: content.update(imagePath="2.jpg"))  # type: ignore[arg-type]
    found = codes(tmp_path)
    assert [(Path(hit.file).name, hit.text) for hit in found["D121"]] == [
        ("1.json", "imagePath '2.jpg', but 1.jpg is there too")
    ]


def test_labels_with_spaces_and_those_left_out(tmp_path: Path, codes: Codes) -> None:
    def spoil(content: dict[str, list[dict[str, object]]]) -> None:
        content["shapes"][2]["label"] = "dent "
        content["shapes"][5]["label"] = "__ignore__"

    change(labelme_set(tmp_path / "set") / "1.json", spoil)
    found = codes(tmp_path / "set")
    assert {code: [hit.index for hit in hits] for code, hits in found.items()} == {"D414": [2], "D226": [5]}
    write_repaired(read_sources([tmp_path / "set"]), tmp_path / "copy")
    assert set(codes(tmp_path / "copy")) == {"D226"}


def test_parts_of_a_group_are_one_object(tmp_path: Path) -> None:
    def spoil(content: dict[str, list[dict[str, object]]]) -> None:
        # Two parts of a dent; a scratch of the same number is another object.
        for index, group in ((0, 1), (2, 1), (3, 1), (5, 2)):
            content["shapes"][index]["group_id"] = group

    change(labelme_set(tmp_path / "set") / "1.json", spoil)
    facts = overview(read_sources([tmp_path / "set"]))
    read = load_labelme(tmp_path / "set")[0]
    assert facts["objects"] == sum(len(record["annotations"]) for record in read) == 23
    assert facts["classes"]["dent"]["objects"] == {"": 11}
    # Two of 844 pixels each together are medium, from 1,024 on.
    assert facts["classes"]["dent"]["sizes"] == {"small": 10, "medium": 1, "large": 0}


def listed_set(folder: Path, train: str, val: str) -> Path:
    """The photos of :func:`yolo_set` with lists of the splits."""
    yolo_set(folder)
    (folder / "data.yaml").write_text("names: [dent, scratch]\ntrain: train.txt\nval: val.txt\n")
    (folder / "train.txt").write_text(train)
    (folder / "val.txt").write_text(val)
    return folder


def test_splits_by_lists_of_pictures(tmp_path: Path, codes: Codes) -> None:
    folder = listed_set(tmp_path, "./images/0.jpg\n", "C:\\cars\\images\\1.jpg\n/home/a/images/2.jpg\n")
    for source in (folder, folder / "data.yaml"):
        assert codes(source) == {}
        assert overview(read_sources([source]))["images"] == {"train": 1, "val": 2}
    (folder / "data.yaml").write_text("names: [dent, scratch]\n")
    assert overview(read_sources([folder]))["images"] == {"train": 1, "val": 2}


@pytest.mark.parametrize("source", [".", "data.yaml"])
def test_a_photo_in_the_lists_of_two_splits(tmp_path: Path, codes: Codes, source: str) -> None:
    folder = listed_set(tmp_path / "set", "images/0.jpg\nimages/1.jpg\n", "images/1.jpg\nimages/2.jpg\n")
    found = codes(folder / source)
    assert {code: [(Path(h.file).name, h.text) for h in hits] for code, hits in found.items()} == {
        "D109": [("1.jpg", "one file, listed in train and val")]
    }


@pytest.mark.parametrize("byte_for_byte", [True, False])
def test_a_copy_of_a_photo_in_the_other_list(tmp_path: Path, codes: Codes, byte_for_byte: bool) -> None:
    folder = listed_set(tmp_path, "images/0.jpg\nimages/1.jpg\n", "images/2.jpg\nimages/again.jpg\n")
    again = folder / "images" / "again.jpg"
    shutil.copyfile(folder / "images" / "0.jpg", again)
    shutil.copyfile(folder / "labels" / "0.txt", folder / "labels" / "again.txt")
    if not byte_for_byte:
        cv2.imwrite(str(again), cv2.resize(cv2.imread(str(again)), (144, 108)))
    found = codes(folder)
    assert set(found) == {"D109"}
    (hit,) = found["D109"]
    assert {Path(p).name for p in (hit.file, *hit.others)} == {"0.jpg", "again.jpg"}
    assert hit.text.startswith("in train and val")


def test_lists_with_lines_that_lead_nowhere(tmp_path: Path, codes: Codes) -> None:
    folder = listed_set(tmp_path / "set", "images/0.jpg\nimages/9.jpg\n\nimages/0.jpg\n", "images/2.jpg\n")
    shutil.copyfile(folder / "images" / "0.jpg", folder / "images" / "0b.jpg")
    found = codes(folder)
    assert set(found) == {"D101", "D107", "D311", "D316", "D319"}
    assert [(Path(h.file).name, h.index) for h in found["D101"]] == [("train.txt", 2)]
    assert [(Path(h.file).name, h.index) for h in found["D316"]] == [("train.txt", 4)]
    assert [Path(h.file).name for h in found["D319"]] == ["1.jpg"]
    for number, source in enumerate((folder, folder / "data.yaml")):
        copy = tmp_path / f"copy{number}"
        write_repaired(read_sources([source]), copy)
        assert (copy / "train.txt").read_text() == "images/0.jpg\n\nimages/0.jpg\n"
        assert "D101" not in codes(copy)


def test_darknet_lists(tmp_path: Path, codes: Codes) -> None:
    folder = listed_set(tmp_path, "data/images/0.jpg\ndata/images/1.jpg\n", "data/images/1.jpg\n")
    (folder / "data.yaml").unlink()
    (folder / "obj.names").write_text("dent\nscratch\n")
    (folder / "obj.data").write_text("classes = 2\ntrain = data/train.txt\nvalid = data/val.txt\n")
    found = codes(folder)
    assert set(found) == {"D109", "D319"}
    assert [Path(hit.file).name for hit in found["D109"]] == ["1.jpg"]


def test_splits_by_folders_that_are_called_otherwise(tmp_path: Path, codes: Codes) -> None:
    folder = yolo_set(tmp_path, "images/first", "labels/first")
    shutil.move(folder / "images/first/2.jpg", write_photo(folder / "images/second/2.jpg", 0))
    (folder / "labels/second").mkdir()
    shutil.move(folder / "labels/first/2.txt", folder / "labels/second/2.txt")
    lines = ("names: [dent, scratch]", "train: images/first", "val: images/second")
    (folder / "data.yaml").write_text("\n".join(lines))
    assert codes(folder) == {}
    assert overview(read_sources([folder]))["images"] == {"train": 2, "val": 1}
