from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import cardamage.data  # noqa: F401  (registers the names)
from cardamage.catalog import DatasetCatalog, MetadataCatalog
from cardamage.data.registered.classes import (
    CARDD_CLASSES,
    CARDD_COLORS,
    CARPARTS_CLASSES,
    CARPARTS_COLORS,
    COCO_CLASSES,
)
from cardamage.errors import DataError


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    before = {name: MetadataCatalog.get(name).as_dict() for name in ("cardd_val", "carparts_test")}
    monkeypatch.setenv("DETECTRON2_DATASETS", str(tmp_path))
    yield tmp_path
    for name, metadata in before.items():
        current = MetadataCatalog.get(name)
        current.replace(**{key: metadata.get(key) for key in {*current.as_dict(), *metadata}})


def coco(classes: list[str]) -> dict[str, Any]:
    square = [1, 1, 9, 1, 9, 9, 1, 9]
    return {
        "images": [{"id": 1, "file_name": "a.jpg", "height": 40, "width": 60}],
        "categories": [{"id": i, "name": name} for i, name in enumerate(classes, start=1)],
        "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "segmentation": [square]}],
    }


def test_names_are_registered_and_known_by_class() -> None:
    names = DatasetCatalog.list()
    for name in (
        "carparts_train",
        "carparts_test",
        "cardd_train",
        "cardd_val",
        "cardd_test",
        "coco_2017_val",
    ):
        assert name in names
        assert MetadataCatalog.get(name).evaluator_type == "coco"
    assert len(MetadataCatalog.get("carparts_train").thing_classes) == 18
    assert len(MetadataCatalog.get("cardd_train").thing_classes) == 6


def test_every_class_has_a_color_of_its_own() -> None:
    for classes, colors in ((CARDD_CLASSES, CARDD_COLORS), (CARPARTS_CLASSES, CARPARTS_COLORS)):
        assert len(set(colors)) == len(classes) == len(set(classes))
    assert len(set(COCO_CLASSES)) == 80


def test_root_is_asked_when_a_set_is_loaded(root: Path) -> None:
    with pytest.raises(DataError) as caught:
        DatasetCatalog.get("carparts_test")
    assert str(caught.value) == (
        f"Dataset 'carparts_test' is not there: {root}/carparts/testset/annotations.json does not exist. Set "
        "DETECTRON2_DATASETS to the folder that holds carparts; datasets/README.md says how to get it."
    )


def test_cardd_layout(root: Path) -> None:
    folder = root / "CarDD_COCO"
    (folder / "annotations").mkdir(parents=True)
    (folder / "val2017").mkdir()
    classes = [name.replace(" ", "_") for name in CARDD_CLASSES]
    (folder / "annotations/instances_val2017.json").write_text(json.dumps(coco(classes)))
    (record,) = DatasetCatalog.get("cardd_val")
    assert record["file_name"] == str(folder / "val2017/a.jpg")
    metadata = MetadataCatalog.get("cardd_val")
    assert metadata.thing_classes == classes
    assert metadata.json_file == str(folder / "annotations/instances_val2017.json")
    assert len(metadata.thing_colors) == 6


def test_file_with_other_classes_counts(root: Path) -> None:
    folder = root / "carparts/testset"
    folder.mkdir(parents=True)
    (folder / "annotations.json").write_text(json.dumps(coco(["_background_", "wheel"])))
    DatasetCatalog.get("carparts_test")
    metadata = MetadataCatalog.get("carparts_test")
    assert metadata.thing_classes == ["_background_", "wheel"]
    assert not hasattr(metadata, "thing_colors")


def test_detectron2s_names_are_there() -> None:
    names = set(DatasetCatalog.list())
    for name, kind in (
        ("coco_2014_valminusminival", "coco"),
        ("coco_2017_test-dev", "coco"),
        ("keypoints_coco_2017_val_100", "coco"),
        ("lvis_v1_train", "lvis"),
        ("lvis_v0.5_val_rand_100", "lvis"),
        ("cityscapes_fine_instance_seg_test", "cityscapes_instance"),
    ):
        assert name in names
        assert MetadataCatalog.get(name).evaluator_type == kind


def test_coco_ids_and_keypoints() -> None:
    from cardamage.data.detection_utils import create_keypoint_hflip_indices

    ids = MetadataCatalog.get("coco_2017_val").thing_dataset_id_to_contiguous_id
    # By the list of https://cocodataset.org: 1 person, 13 stop sign, 44 bottle, 90 toothbrush.
    wanted = {1: "person", 13: "stop sign", 44: "bottle", 90: "toothbrush"}
    assert {i: COCO_CLASSES[ids[i]] for i in wanted} == wanted
    assert sorted(ids.values()) == list(range(80))
    order = create_keypoint_hflip_indices("keypoints_coco_2017_train")
    assert order == [0, *(i for pair in range(8) for i in (2 * pair + 2, 2 * pair + 1))]


def test_cityscapes_and_lvis_say_what_is_missing(root: Path) -> None:
    for name, needed in (
        ("lvis_v1_val", "lvis/lvis_v1_val.json"),
        ("cityscapes_fine_instance_seg_train", "cityscapes/leftImg8bit/train"),
    ):
        with pytest.raises(DataError, match=f"'{name}' is not there: {root}/{needed} does not exist"):
            DatasetCatalog.get(name)
