"""Labels and pictures that lie, or are called, otherwise than readers expect."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

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
