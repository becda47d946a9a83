"""The readers on real photographs, where they are beside the checkout."""

from __future__ import annotations

import csv
import io
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageOps

from cardamage.catalog import dicts_to_coco
from cardamage.data.annotations.report import AnnotationReport
from cardamage.data.formats.coco import read_coco
from cardamage.data.formats.labelme import load_labelme
from cardamage.data.formats.via import load_via
from cardamage.data.formats.yolo import load_yolo
from cardamage.data.images.checks import check_images
from cardamage.data.images.reading import read_image, read_record_image
from cardamage.errors import DataError
from tests.support.paths import SHARED_DATA

pytestmark = pytest.mark.skipif(not SHARED_DATA.is_dir(), reason="the real photographs are not here")

Dicts = list[dict[str, Any]]


def objects(dicts: Dicts, classes: list[str]) -> dict[str, int]:
    return dict(Counter(classes[a["category_id"]] for d in dicts for a in d["annotations"]))


@pytest.mark.parametrize(
    ("folder", "images", "count", "clipped", "crossing"),
    [("trainingset", 400, 3073, 3, 2), ("testset", 100, 811, 0, 0)],
)
def test_carparts(folder: str, images: int, count: int, clipped: int, crossing: int) -> None:
    report = AnnotationReport("x")
    dataset = read_coco(SHARED_DATA / "carparts" / folder / "annotations.json", report=report)
    assert (len(dataset.dicts), sum(objects(dataset.dicts, dataset.classes).values())) == (images, count)
    assert len(dataset.classes) == 18
    assert "_background_" not in dataset.classes
    assert Path(dataset.dicts[0]["file_name"]).parent.name == "JPEGImages"
    verdicts = Counter(finding.verdict for finding in report.findings)
    assert (verdicts["dropped"], verdicts["clipped"], verdicts["kept"]) == (0, clipped, crossing)
    check_images(dataset.dicts)


@pytest.mark.parametrize(
    ("split", "images", "count"), [("train", 160, 464), ("valid", 50, 160), ("test", 30, 114)]
)
def test_damage_coco(split: str, images: int, count: int) -> None:
    report = AnnotationReport("x")
    dataset = read_coco(SHARED_DATA / "damage-coco" / split / "_annotations.coco.json", report=report)
    assert (len(dataset.dicts), report.read, report.findings) == (images, count, [])
    assert dataset.classes == [
        "airbag",
        "astar",
        "cam_catlagi",
        "cizik",
        "far_hasar",
        "gocuk",
        "kaput_hasar",
        "kirik-kayip",
    ]
    for record in dataset.dicts:
        for annotation in record["annotations"]:
            assert 0 <= min(annotation["bbox"])
            assert max(annotation["bbox"]) <= 640
            assert annotation["segmentation"][0][:2] != annotation["segmentation"][0][-2:]
    check_images(dataset.dicts)


def test_areas_are_the_masks_where_the_file_says_the_boxes() -> None:
    dataset = read_coco(SHARED_DATA / "damage-coco/test/_annotations.coco.json")
    coco = dicts_to_coco(dataset.dicts, dataset.classes)
    assert coco["annotations"][0]["id"] == 1
    assert all(a["area"] <= (a["bbox"][2] + 1) * (a["bbox"][3] + 1) for a in coco["annotations"])
    assert np.mean([a["area"] / (a["bbox"][2] * a["bbox"][3]) for a in coco["annotations"]]) < 0.9


def test_damage_labelme_reads_the_embedded_photographs() -> None:
    report = AnnotationReport("x")
    dicts, classes = load_labelme(SHARED_DATA / "damage-labelme", report=report)
    assert len(dicts) == 140
    assert objects(dicts, classes) == {"body": 64, "door": 56, "bumper": 51, "glass": 48, "light": 33}
    crossing = {Path(finding.sentence.split(",")[0]).stem for finding in report.findings}
    assert crossing == {"1263", "1325", "441", "477"}
    check_images(dicts)
    with open(SHARED_DATA / "damage-labelme/true_png_of_label.csv", newline="") as file:
        true_file = {row["label_stem"]: row["true_png_in_repo"] for row in csv.DictReader(file)}
    compared = 0
    for record in dicts:
        stem = Path(record["file_name"]).stem
        image = read_record_image(record).astype(int)
        decoded = read_image(SHARED_DATA / f"damage-labelme/decoded_imageData/{stem}.jpeg", "BGR")
        np.testing.assert_array_equal(image, decoded)
        png = SHARED_DATA / "damage-labelme/image" / true_file[stem]
        if png.is_file():
            compared += 1
            assert np.abs(image - read_image(png, "BGR")).mean() < 12
    assert compared > 0


@pytest.mark.parametrize(
    ("file", "images", "count"),
    [
        ("train/via_region_data.json", 62, {"damage": 152}),
        ("train/car-damage-train.json", 62, {"damage": 152}),
        ("val/via_region_data.json", 8, {"damage": 12}),
        ("val/car-damage-val.json", 8, {"damage": 12}),
        ("train/train_multiclass.json", 62, 191),
        ("val/val_multiclass.json", 8, 24),
    ],
)
def test_damage_via(file: str, images: int, count: Any) -> None:
    dicts, classes = load_via(SHARED_DATA / "damage-via" / file)
    assert len(dicts) == images
    found = objects(dicts, classes)
    assert (found if isinstance(count, dict) else sum(found.values())) == count
    check_images(dicts)


def test_via_attributes_file_is_refused() -> None:
    with pytest.raises(DataError, match="is no VIA file"):
        load_via(SHARED_DATA / "damage-via/train/car-damage-train_attributes.json")


@pytest.mark.parametrize(("split", "images", "count"), [("train", 12, 19), ("valid", 7, 8), ("test", 6, 13)])
def test_yolo_outlines(split: str, images: int, count: int) -> None:
    dicts, classes = load_yolo(SHARED_DATA / "odd/odd-yoloseg-parts-rectpoly/data.yaml", split)
    assert classes == ["Bonnet", "Bumper", "Dickey", "Door", "Fender", "Light", "Windshield"]
    assert (len(dicts), sum(objects(dicts, classes).values())) == (images, count)
    assert all("segmentation" in a for d in dicts for a in d["annotations"])


def test_yolo_boxes_and_absolute_paths_of_another_machine() -> None:
    dicts, _ = load_yolo(SHARED_DATA / "odd/odd-yolobox/surya/config.yaml")
    assert len(dicts) == 10
    assert not any("segmentation" in a for d in dicts for a in d["annotations"])
    check_images(dicts)


def test_lfs_pointers_under_names_with_accents() -> None:
    folder = SHARED_DATA / "odd/odd-lfs-pointers-nonascii/Data7.off/images"
    dicts = [{"file_name": str(path)} for path in sorted(folder.iterdir())]
    with pytest.raises(DataError) as caught:
        check_images(dicts)
    assert str(caught.value).splitlines() == [
        f"The image {d['file_name']} is a Git LFS pointer, not the picture; "
        "run 'git lfs pull' where it was cloned."
        for d in dicts
    ]


def all_pictures() -> list[Path]:
    suffixes = {".jpg", ".jpeg", ".png"}
    found = [
        p for p in SHARED_DATA.rglob("*") if p.suffix.lower() in suffixes and "lfs-pointers" not in str(p)
    ]
    return sorted(found)[::7]


def test_pictures_are_read_as_pillow_reads_them() -> None:
    pictures = all_pictures()
    assert len(pictures) > 100
    for path in pictures:
        with Image.open(io.BytesIO(path.read_bytes())) as image:
            expected = np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
        assert np.abs(read_image(path, "RGB").astype(int) - expected).max() <= 2, path
