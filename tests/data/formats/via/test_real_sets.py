"""The real sets: VIA's three spellings, and what comes back by way of other formats."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from cardamage.data.annotations.report import AnnotationReport
from cardamage.data.formats import coco, via
from cardamage.data.formats.dataset import AnnotatedDataset
from cardamage.data.formats.registry import ReadOptions, WriteOptions
from tests.support.drawn_masks import dataset_masks
from tests.support.paths import SHARED_DATA

pytestmark = pytest.mark.skipif(not SHARED_DATA.is_dir(), reason="the real photographs are not here")


def read_back(path: Path, **options: Any) -> AnnotatedDataset:
    return via.read(path, ReadOptions(**options), AnnotationReport("x"))


@pytest.mark.parametrize("split", ["train", "val"])
def test_three_spellings_of_the_real_set_are_the_same(split: str, tmp_path: Path) -> None:
    folder = SHARED_DATA / "damage-via" / split
    names = ["via_region_data.json", f"car-damage-{split}.json", "via_region_data.csv"]
    found = [read_back(folder / name) for name in names]
    assert dataset_masks(found[0])
    for dataset in found[1:]:
        assert dataset_masks(dataset) == dataset_masks(found[0])
        assert dataset.classes == found[0].classes == ["damage"]


@pytest.mark.parametrize("name", ["via_region_data.json", "train_multiclass.json"])
def test_the_real_set_comes_back_from_coco(name: str, tmp_path: Path) -> None:
    losses = AnnotationReport("x")
    first = read_back(SHARED_DATA / "damage-via/train" / name)
    done = coco.write(first, tmp_path / "coco", WriteOptions("copy"), losses)
    between = coco.read(done.files[0], ReadOptions(), losses)
    back = via.write(between, tmp_path / "via", WriteOptions("copy"), losses)
    again = read_back(back.files[0])
    assert len(dataset_masks(first)) == (152 if "region" in name else 191)
    assert dataset_masks(again) == dataset_masks(between) == dataset_masks(first)
    assert again.classes == first.classes
    before = json.loads((SHARED_DATA / "damage-via/train" / name).read_text())
    stored = json.loads((tmp_path / "via/via_region_data.json").read_text())
    assert stored == before


def test_the_real_folder_is_recognized() -> None:
    assert via.recognize(SHARED_DATA / "damage-via")
    assert not coco.recognize(SHARED_DATA / "damage-via")
    assert not via.recognize(SHARED_DATA / "damage-coco")
    dataset = read_back(SHARED_DATA / "damage-via")
    assert {image.split for image in dataset.images} == {"train", "val"}
    assert len(dataset.images) == 70


def test_real_coco_sets_come_back_from_coco(tmp_path: Path) -> None:
    for name, count in (("damage-coco", 738), ("carparts", 3884)):
        assert coco.recognize(SHARED_DATA / name)
        losses = AnnotationReport("x")
        first = coco.read(SHARED_DATA / name, ReadOptions(), losses)
        coco.write(first, tmp_path / name, WriteOptions("keep"), losses)
        again = coco.read(tmp_path / name, ReadOptions(image_root=SHARED_DATA / name), losses)
        assert losses.findings == []
        assert (len(dataset_masks(first)), again.classes) == (count, first.classes)
        assert sorted(dataset_masks(again)) == sorted(dataset_masks(first))
        assert {i.name: i.split for i in again.images} == {i.name: i.split for i in first.images}


def test_real_coco_sets_come_back_from_via(tmp_path: Path) -> None:
    for name, count in (("damage-coco", 738), ("carparts", 3884)):
        losses = AnnotationReport("x")
        first = coco.read(SHARED_DATA / name, ReadOptions(), losses)
        done = via.write(first, tmp_path / name, WriteOptions("keep"), losses)
        assert {f.reason for f in losses.findings if "VIA has no place" not in f.reason} <= {
            "its box is another than that of its outline"
        }
        found = [read_back(file, image_root=SHARED_DATA / name) for file in done.files]
        again = [mask for dataset in found for mask in dataset_masks(dataset)]
        assert len(again) == count
        assert sorted(again) == sorted(dataset_masks(first))
