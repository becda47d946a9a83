"""COCO files found in folders, and read together."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from cardamage.data.annotations.report import AnnotationReport
from cardamage.data.formats.coco import read, recognize
from cardamage.data.formats.coco.folder import coco_files
from cardamage.data.formats.dataset import AnnotatedDataset
from cardamage.data.formats.registry import ReadOptions
from cardamage.errors import DataError

SQUARE = [10, 10, 20, 10, 20, 20, 10, 20]


def put(
    path: Path, name: str = "a.jpg", classes: dict[int, str] | None = None, used: int = 1, **more: Any
) -> Path:
    content = {
        **more,
        "images": [{"id": 5, "file_name": name, "height": 40, "width": 50}],
        "annotations": [{"id": 1, "image_id": 5, "category_id": used, "segmentation": [SQUARE]}],
        "categories": [{"id": i, "name": n} for i, n in (classes or {1: "dent", 2: "scratch"}).items()],
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))
    return path


def draw(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (50, 40)).save(path)


def read_all(path: Path, **options: Any) -> tuple[AnnotatedDataset, list[str]]:
    report = AnnotationReport("x")
    dataset = read(path, ReadOptions(**options), report)
    return dataset, [finding.sentence for finding in report.findings]


@pytest.mark.parametrize(
    ("files", "splits"),
    [
        (["train/_annotations.coco.json", "valid/_annotations.coco.json"], ["train", "valid"]),
        (["annotations/train.json", "annotations/val.json"], ["train", "val"]),
        (["annotations/instances_train2017.json"], ["train2017"]),
        (["annotations/all.json"], [""]),
        (["annotations.json"], [""]),
        (["_annotations.coco.json"], [""]),
        (["test.json", "train.json"], ["test", "train"]),
        (["testset/annotations.json", "trainingset/annotations.json"], ["testset", "trainingset"]),
    ],
)
def test_layouts(tmp_path: Path, files: list[str], splits: list[str]) -> None:
    for number, file in enumerate(files):
        put(tmp_path / file, f"{number}.jpg")
    assert recognize(tmp_path)
    assert coco_files(tmp_path) == {tmp_path / f: s for f, s in zip(files, splits, strict=True)}
    dataset, said = read_all(tmp_path)
    assert [image.split for image in dataset.images] == splits
    assert (dataset.classes, said) == (["dent", "scratch"], [])


def test_captions_beside_instances_are_passed_over(tmp_path: Path) -> None:
    put(tmp_path / "annotations/instances_val2017.json")
    put(tmp_path / "annotations/captions_val2017.json")
    assert list(coco_files(tmp_path).values()) == ["val2017"]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff\xfe{",
        b"[]",
        b"{",
        b'{"shapes": [], "imagePath": "a"}',
        b'{"images": 1}',
        b'{"a.jpg1": {"filename": "a.jpg", "size": 1, "regions": []}}',
        b'{"_via_settings": {}, "_via_img_metadata": {}, "images": [{"file_name": "a"}]}',
        b"version https://git-lfs.github.com/spec/v1",
    ],
)
def test_other_files_are_not_recognized(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.json").write_bytes(content)
    assert not recognize(tmp_path / "a.json")
    assert not recognize(tmp_path)
    with pytest.raises(DataError, match=f"^{tmp_path} holds no COCO file; name the file"):
        read_all(tmp_path)


def test_lists_may_come_in_any_order(tmp_path: Path) -> None:
    path = tmp_path / "a.JSON"
    path.write_text('{"annotations": [{"image_id": 1, "x": "' + "y" * 100000 + '"}], "images": []}')
    assert recognize(path)
    path.write_text('\ufeff{"categories": [], "images": []}', encoding="utf-8")
    assert recognize(path)
    assert not recognize(tmp_path / "no.json")


def test_images_are_named_from_one_folder(tmp_path: Path) -> None:
    for split in ("train", "valid"):
        put(tmp_path / split / "_annotations.coco.json")
        draw(tmp_path / split / "a.jpg")
    dataset, _ = read_all(tmp_path)
    found = [(image.name, image.source, image.split) for image in dataset.images]
    assert found == [
        ("train/a.jpg", str(tmp_path / "train/a.jpg"), "train"),
        ("valid/a.jpg", str(tmp_path / "valid/a.jpg"), "valid"),
    ]


def test_images_of_one_folder_keep_their_names(tmp_path: Path) -> None:
    for number, split in enumerate(("train", "val")):
        put(tmp_path / f"annotations/{split}.json", f"{number}.jpg")
        draw(tmp_path / f"images/{number}.jpg")
    assert [image.name for image in read_all(tmp_path)[0].images] == ["0.jpg", "1.jpg"]
    assert [image.name for image in read_all(tmp_path / "annotations")[0].images] == ["0.jpg", "1.jpg"]


def test_images_beside_the_folder_that_is_named(tmp_path: Path) -> None:
    for split in ("train2017", "val2017"):
        put(tmp_path / f"annotations/instances_{split}.json")
        draw(tmp_path / split / "a.jpg")
    names = [image.name for image in read_all(tmp_path / "annotations")[0].images]
    assert names == ["train2017/a.jpg", "val2017/a.jpg"]


def test_classes_are_united_by_name(tmp_path: Path) -> None:
    put(tmp_path / "train/a.json", "1.jpg", {1: "dent", 2: "scratch"}, used=1)
    put(tmp_path / "val/a.json", "2.jpg", {1: "scratch", 3: "crack"}, used=1)
    dataset, said = read_all(tmp_path)
    assert dataset.classes == ["dent", "scratch", "crack"]
    assert [image.annotations[0].label for image in dataset.images] == ["dent", "scratch"]
    train, val = tmp_path / "train/a.json", tmp_path / "val/a.json"
    assert said == [
        f"{val}: kept, it has no class dent.",
        f"{train}: kept, it has no class crack.",
        f"{val}: kept, its category ids are not those of the first file, so classes go by their names.",
    ]
    assert read_all(tmp_path, classes=["scratch", "dent"])[0].classes == ["scratch", "dent"]


def test_fields_of_each_split_are_kept(tmp_path: Path) -> None:
    put(tmp_path / "train/a.json", "1.jpg", info={"year": 1}, licenses=[{"id": 1}])
    put(tmp_path / "val/a.json", "2.jpg", info={"year": 2}, licenses=[{"id": 1}])
    extra = read_all(tmp_path)[0].extra
    assert (extra["info"], extra["licenses"]) == ({"year": 1}, [{"id": 1}])
    assert extra["splits"] == {"val": {"info": {"year": 2}, "licenses": [{"id": 1}]}}


def test_a_picture_of_two_files_is_refused(tmp_path: Path) -> None:
    one, two = put(tmp_path / "all.json"), put(tmp_path / "train.json")
    with pytest.raises(DataError) as caught:
        read_all(tmp_path)
    assert str(caught.value) == f"The image a.jpg is listed in {one} and {two}; name one of them."


def test_a_picture_listed_twice_is_one(tmp_path: Path) -> None:
    path = put(tmp_path / "a.json")
    content = json.loads(path.read_text())
    content["images"].append({**content["images"][0], "id": 6})
    content["annotations"].append({**content["annotations"][0], "id": 2, "image_id": 6, "category_id": 2})
    path.write_text(json.dumps(content))
    dataset, said = read_all(path)
    (image,) = dataset.images
    assert [annotation.label for annotation in image.annotations] == ["dent", "scratch"]
    assert said == [f"{path}, a.jpg: changed, the picture is listed twice; its entries are joined."]
    content["images"][1]["width"] = 60
    path.write_text(json.dumps(content))
    with pytest.raises(DataError, match="with two sizes; remove one of the entries"):
        read_all(path)


def test_links_out_of_the_folder_are_refused(tmp_path: Path) -> None:
    draw(tmp_path / "elsewhere/secret.jpg")
    path = put(tmp_path / "set/a.json")
    link = tmp_path / "set/a.jpg"
    link.symlink_to(tmp_path / "elsewhere/secret.jpg")
    with pytest.raises(DataError) as caught:
        read_all(path)
    assert str(caught.value) == (
        f"The image a.jpg in {path} is a link that leads out of its folder {tmp_path}/set; "
        "put the picture itself there, or name a folder that holds both."
    )
    link.unlink()
    draw(tmp_path / "set/b.jpg")
    link.symlink_to("b.jpg")
    assert len(read_all(path)[0].images) == 1
    put(path, "images/secret.jpg")
    (tmp_path / "set/images").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(DataError, match="is a link that leads out of its folder"):
        read_all(path)
    put(path, "secret.jpg")
    assert len(read_all(path, image_root=tmp_path / "set/images")[0].images) == 1
