"""The car sets in miniature, as each download lays them out, and the real one that is at hand."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

import cardamage.data  # noqa: F401  (registers the names)
from cardamage.catalog import DatasetCatalog, MetadataCatalog
from cardamage.config import get_cfg
from cardamage.data import prepare_datasets, resolve_num_classes
from cardamage.data.registered.classes import CARPARTS_CLASSES, VEHIDE_CLASSES, VEHIDE_COLORS
from cardamage.errors import DataError
from tests.support.paths import SHARED_DATA

PARTS = ["headlamp", "rear_bumper", "door", "hood", "front_bumper"]
VEHIDE = "vehide-dataset-automatic-vehicle-damage-detection"
NAMES = (
    *(
        "carparts_train",
        "carparts_test",
        "cardd_train",
        "cardd_val",
        "cardd_test",
        "vehide_train",
        "vehide_val",
    ),
    *("car_damage_train", "car_damage_val", "car_damage_parts_train", "car_damage_parts_val"),
)


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    before = {name: MetadataCatalog.get(name).as_dict() for name in NAMES}
    monkeypatch.setenv("DETECTRON2_DATASETS", str(tmp_path))
    yield tmp_path
    for name, metadata in before.items():
        current = MetadataCatalog.get(name)
        current.replace(**{key: metadata.get(key) for key in {*current.as_dict(), *metadata}})


def picture(file: Path) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (60, 40)).save(file)


def write(file: Path, content: Any) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(content))


def coco(classes: list[str], file_name: str = "a.jpg") -> dict[str, Any]:
    """One object of the last class."""
    square = [1, 1, 9, 1, 9, 9, 1, 9]
    note = {"id": 1, "image_id": 1, "category_id": len(classes), "segmentation": [square], "iscrowd": 0}
    return {
        "images": [{"id": 1, "file_name": file_name, "height": 40, "width": 60}],
        "categories": [{"id": i, "name": name} for i, name in enumerate(classes, start=1)],
        "annotations": [{**note, "bbox": [1, 1, 8, 8], "area": 64}],
    }


def vehide(root: Path, folder: str = VEHIDE) -> None:
    for split, place in (("Train", "image/image"), ("Val", "validation/validation")):
        region = {"all_x": [1, 9, 9], "all_y": [1, 1, 9], "class": "be_den" if split == "Val" else "rach"}
        picture(root / folder / place / f"{split}1.jpg")
        entry = {"name": f"{split}1.jpg", "regions": [region]}
        write(root / folder / f"0{split}_via_annos.json", {f"{split}1.jpg": entry})


@pytest.mark.parametrize("folder", ["carparts", "Car-Parts-Segmentation", "Car-Parts-Segmentation-master"])
def test_car_parts(root: Path, folder: str) -> None:
    place = root / folder / "trainingset"
    picture(place / "JPEGImages/a.jpg")
    content = coco(["_background_", *CARPARTS_CLASSES])
    # As in the published files: the folder is in `path` only.
    content["images"][0]["path"] = "JPEGImages/a.jpg"
    write(place / "annotations.json", content)
    (record,) = DatasetCatalog.get("carparts_train")
    assert record["file_name"] == str(place / "JPEGImages/a.jpg")
    metadata = MetadataCatalog.get("carparts_train")
    assert metadata.thing_classes == list(CARPARTS_CLASSES)
    assert len(metadata.thing_colors) == 18
    assert len(metadata.thing_flip_map) == 5
    assert ("front_left_door", "front_right_door") in metadata.thing_flip_map


@pytest.mark.parametrize(
    "folder", ["CarDD_COCO", "CarDD_release/CarDD_COCO", "CarDD_release/CarDD_release/CarDD_COCO"]
)
def test_cardd(root: Path, folder: str) -> None:
    place = root / folder
    picture(place / "test2017/000012.jpg")
    write(place / "annotations/instances_test2017.json", coco(["dent", "scratch"], "000012.jpg"))
    (record,) = DatasetCatalog.get("cardd_test")
    assert record["file_name"] == str(place / "test2017/000012.jpg")
    assert MetadataCatalog.get("cardd_test").json_file == str(place / "annotations/instances_test2017.json")


@pytest.mark.parametrize("pictures", ["val", "img"])
@pytest.mark.parametrize(
    ("name", "stem", "classes"), [("car_damage", "COCO", ["damage"]), ("car_damage_parts", "COCO_mul", PARTS)]
)
def test_coco_car_damage(root: Path, name: str, stem: str, classes: list[str], pictures: str) -> None:
    place = root / "coco-car-damage-detection-dataset"
    picture(place / pictures / "23.jpg")
    write(place / f"val/{stem}_val_annos.json", coco(classes, "23.jpg"))
    (record,) = DatasetCatalog.get(f"{name}_val")
    assert record["file_name"] == str(place / pictures / "23.jpg")
    assert record["annotations"][0]["category_id"] == len(classes) - 1
    metadata = MetadataCatalog.get(f"{name}_val")
    assert metadata.thing_classes == classes
    assert len(metadata.thing_colors) == len(classes)
    assert metadata.image_root == str(place / pictures)
    assert not hasattr(metadata, "json_file")


@pytest.mark.parametrize("folder", [VEHIDE, "vehide", "VehiDE"])
def test_vehide(root: Path, folder: str) -> None:
    vehide(root, folder)
    for name, place, label in (
        ("train", "image/image/Train1.jpg", "tear"),
        ("val", "validation/validation/Val1.jpg", "lamp broken"),
    ):
        (record,) = DatasetCatalog.get(f"vehide_{name}")
        assert record["file_name"] == str(root / folder / place)
        metadata = MetadataCatalog.get(f"vehide_{name}")
        assert metadata.thing_classes == list(VEHIDE_CLASSES.values())
        assert metadata.thing_classes[record["annotations"][0]["category_id"]] == label
        assert metadata.thing_colors == [list(color) for color in VEHIDE_COLORS]


def test_classes_counts_and_colors_follow(root: Path) -> None:
    vehide(root)
    cfg = get_cfg()
    cfg.MODEL.MASK_ON = True
    cfg.DATASETS.TRAIN, cfg.DATASETS.TEST = ("vehide_train",), ("vehide_val",)
    resolve_num_classes(cfg, prepare_datasets(cfg))
    assert cfg.MODEL.ROI_HEADS.NUM_CLASSES == 7


def test_vehide_and_cardd_train_together_by_name(root: Path) -> None:
    vehide(root)
    picture(root / "CarDD_COCO/train2017/a.jpg")
    classes = ["dent", "scratch", "crack", "glass shatter", "lamp broken", "tire flat"]
    write(root / "CarDD_COCO/annotations/instances_train2017.json", coco(classes[:5]))
    cfg = get_cfg()
    cfg.MODEL.MASK_ON = True
    cfg.DATASETS.TRAIN = ("vehide_val", "cardd_train")
    prepare_datasets(cfg)
    (one,), (other,) = (DatasetCatalog.get(name) for name in cfg.DATASETS.TRAIN)
    assert one["annotations"][0]["category_id"] == other["annotations"][0]["category_id"] == 4
    cfg.DATASETS.TRAIN = ("cardd_train",)
    prepare_datasets(cfg)


@pytest.mark.parametrize(
    ("name", "needed"),
    [
        ("car_damage_train", "coco-car-damage-detection-dataset/train/COCO_train_annos.json"),
        ("car_damage_parts_val", "coco-car-damage-detection-dataset/val/COCO_mul_val_annos.json"),
        ("vehide_val", f"{VEHIDE}/0Val_via_annos.json"),
        ("cardd_train", "CarDD_COCO/annotations/instances_train2017.json"),
    ],
)
def test_what_is_missing(root: Path, name: str, needed: str) -> None:
    with pytest.raises(DataError) as caught:
        DatasetCatalog.get(name)
    assert str(caught.value) == (
        f"Dataset '{name}' is not there: {root}/{needed} does not exist. Set DETECTRON2_DATASETS to the "
        f"folder that holds {needed.split('/')[0]}; datasets/README.md says how to get it."
    )


def test_known_without_reading() -> None:
    for name in NAMES:
        metadata = MetadataCatalog.get(name)
        assert metadata.evaluator_type == "coco"
        assert len(metadata.thing_colors) == len(metadata.thing_classes)
        assert len({tuple(color) for color in metadata.thing_colors}) == len(metadata.thing_classes)
        assert len(metadata.thing_flip_map) == (5 if name.startswith("carparts") else 0)


@pytest.mark.skipif(not SHARED_DATA.is_dir(), reason="needs the real sets")
def test_the_real_car_parts(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DETECTRON2_DATASETS", str(SHARED_DATA))
    found = {name: DatasetCatalog.get(name) for name in ("carparts_train", "carparts_test")}
    assert [len(records) for records in found.values()] == [400, 100]
    for name in found:
        assert MetadataCatalog.get(name).thing_classes == list(CARPARTS_CLASSES)
