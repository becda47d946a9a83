from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from cardamage.catalog import DatasetCatalog, MetadataCatalog
from cardamage.config import CfgNode, get_cfg
from cardamage.data import prepare_datasets, resolve_num_classes
from cardamage.errors import ConfigError, DataError

Adder = Callable[..., str]
SQUARE = [1.0, 1.0, 9.0, 1.0, 9.0, 9.0, 1.0, 9.0]


@pytest.fixture
def add(tmp_path: Path) -> Iterator[Adder]:
    """Register a dataset with one image that holds one object of each given id."""
    names: list[str] = []

    def register(name: str, classes: Sequence[str] | None, ids: Sequence[int], **metadata: Any) -> str:
        path = tmp_path / f"{name}.png"
        Image.new("RGB", (60, 40)).save(path)
        annotations = [
            {"bbox": [1, 1, 9, 9], "bbox_mode": 0, "category_id": i, "segmentation": [SQUARE]} for i in ids
        ]
        record = {
            "file_name": str(path),
            "height": 40,
            "width": 60,
            "image_id": 1,
            "annotations": annotations,
        }
        DatasetCatalog.register(name, lambda: [copy.deepcopy(record)])
        if classes is not None:
            metadata["thing_classes"] = list(classes)
        MetadataCatalog.get(name).set(**metadata)
        names.append(name)
        return name

    yield register
    for name in names:
        DatasetCatalog.remove(name)
        MetadataCatalog.remove(name)


def config(train: Sequence[str] = (), test: Sequence[str] = (), **options: Any) -> CfgNode:
    cfg = get_cfg()
    cfg.DATASETS.TRAIN, cfg.DATASETS.TEST = tuple(train), tuple(test)
    cfg.MODEL.MASK_ON = options.get("mask", True)
    return cfg


def ids_of(name: str) -> list[int]:
    return [a["category_id"] for record in DatasetCatalog.get(name) for a in record["annotations"]]


def sentence_of(cfg: CfgNode, error: type[Exception] = DataError) -> str:
    with pytest.raises(error) as caught:
        prepare_datasets(cfg)
    return str(caught.value)


def test_no_dataset() -> None:
    assert sentence_of(config(), ConfigError) == (
        "No dataset is named; set DATASETS.TRAIN and DATASETS.TEST."
    )


def test_equal_classes_change_nothing(add: Adder) -> None:
    train = add("p_train", ["dent", "scratch"], [0, 1], json_file="a.json")
    test = add("p_test", ["dent", "scratch"], [1], json_file="b.json")
    assert prepare_datasets(config([train], [test])) == ["dent", "scratch"]
    assert ids_of(test) == [1]
    assert MetadataCatalog.get(test).json_file == "b.json"


def test_ids_are_mapped_by_name(add: Adder) -> None:
    train = add("p_train", ["dent", "scratch", "crack"], [0, 1, 2])
    test = add(
        "p_test",
        ["crack", "dent"],
        [0, 1],
        json_file="b.json",
        thing_dataset_id_to_contiguous_id={7: 0, 8: 1},
    )
    for _ in range(2):
        assert prepare_datasets(config([train], [test])) == ["dent", "scratch", "crack"]
        assert ids_of(test) == [2, 0]
    metadata = MetadataCatalog.get(test)
    assert metadata.thing_classes == ["dent", "scratch", "crack"]
    assert not hasattr(metadata, "json_file")
    assert not hasattr(metadata, "thing_dataset_id_to_contiguous_id")


def test_mapping_is_undone_for_another_config(add: Adder) -> None:
    train = add("p_train", ["dent", "scratch"], [0, 1])
    test = add("p_test", ["scratch"], [0], json_file="b.json")
    prepare_datasets(config([train], [test]))
    assert ids_of(test) == [1]
    assert prepare_datasets(config([test])) == ["scratch"]
    assert ids_of(test) == [0]
    assert MetadataCatalog.get(test).json_file == "b.json"


def test_longest_train_list_counts(add: Adder) -> None:
    one = add("p_one", ["scratch"], [0])
    two = add("p_two", ["dent", "scratch"], [0, 1])
    assert prepare_datasets(config([one, two])) == ["dent", "scratch"]
    assert (ids_of(one), ids_of(two)) == ([1], [0, 1])


def test_only_test_sets(add: Adder) -> None:
    assert prepare_datasets(config(test=[add("p_test", ["dent"], [0])])) == ["dent"]


def test_disagreement_names_both_and_the_closest_class(add: Adder) -> None:
    train = add("p_train", ["dent", "scratch"], [0, 1])
    test = add("p_test", ["dent", "scrtch"], [1])
    assert sentence_of(config([train], [test])) == (
        "Dataset 'p_test' has objects of class 'scrtch', but dataset 'p_train' has the classes dent, "
        "scratch; did you mean scratch?"
    )


def test_classes_of_the_weights_count_where_given(add: Adder) -> None:
    test = add("p_test", ["scratch", "dent"], [0, 1])
    assert prepare_datasets(config(test=[test]), ["dent", "crack", "scratch"]) == ["dent", "crack", "scratch"]
    assert ids_of(test) == [2, 0]
    with pytest.raises(DataError) as caught:
        prepare_datasets(config(test=[test]), ["dent", "wheel"])
    assert str(caught.value) == (
        "Dataset 'p_test' has objects of class 'scratch', but the weights have the classes dent, wheel; "
        "rename the class, or take its objects out."
    )


def test_unknown_class_without_objects_is_let_be(add: Adder, caplog: pytest.LogCaptureFixture) -> None:
    train = add("p_train", ["dent"], [0])
    test = add("p_test", ["wheel", "dent"], [1])
    assert prepare_datasets(config([train], [test])) == ["dent"]
    assert ids_of(test) == [0]
    assert "Class 'wheel' of p_test is unknown to p_train and never used." in caplog.text


def test_category_out_of_range_names_the_annotation(add: Adder, tmp_path: Path) -> None:
    train = add("p_train", ["dent"], [0, 1])
    assert sentence_of(config([train])) == (
        f"{tmp_path}/p_train.png, annotation 1: its category 1 is not among the 1 classes "
        "of dataset 'p_train' (0 to 0)."
    )


def test_dataset_without_class_names(add: Adder) -> None:
    train = add("p_train", None, [0])
    assert sentence_of(config([train])) == (
        "Dataset 'p_train' has no class names; set MetadataCatalog.get('p_train').thing_classes, "
        "or set MODEL.ROI_HEADS.NUM_CLASSES."
    )
    cfg = config([train])
    cfg.MODEL.ROI_HEADS.NUM_CLASSES = 1
    assert prepare_datasets(cfg) == []


def test_missing_images_of_all_sets_in_one_message(add: Adder, tmp_path: Path) -> None:
    train, test = add("p_train", ["dent"], [0]), add("p_test", ["dent"], [0])
    for name in (train, test):
        (tmp_path / f"{name}.png").unlink()
    cfg = config([train], [test])
    files = f"{tmp_path}/p_train.png, {tmp_path}/p_test.png"
    assert sentence_of(cfg) == f"2 of 2 images do not exist: {files}; put them there, or correct their paths."
    cfg.INPUT.CHECK_IMAGES = False
    assert prepare_datasets(cfg) == ["dent"]


def strip_outlines(name: str, keep: int) -> None:
    (record,) = DatasetCatalog.get(name)
    for annotation in record["annotations"][keep:]:
        del annotation["segmentation"]
    DatasetCatalog[name] = lambda: [copy.deepcopy(record)]


def test_boxes_without_outline(add: Adder) -> None:
    train = add("p_train", ["dent"], [0, 0, 0])
    strip_outlines(train, keep=1)
    prepare_datasets(config([train], mask=False))
    assert len(ids_of(train)) == 3
    prepare_datasets(config([train]))
    assert len(ids_of(train)) == 1
    strip_outlines(train, keep=0)
    prepare_datasets(config(test=[train]))


def test_only_boxes_cannot_teach_masks(add: Adder) -> None:
    train = add("p_train", ["dent"], [0, 0])
    strip_outlines(train, keep=0)
    assert sentence_of(config([train])) == (
        "All 2 objects of dataset 'p_train' are boxes without outlines, so masks can't be learned; "
        "draw outlines, or set MODEL.MASK_ON to False."
    )


def test_number_of_classes_follows_the_data() -> None:
    cfg = config(["cars"])
    resolve_num_classes(cfg, ["dent", "scratch"])
    assert cfg.MODEL.ROI_HEADS.NUM_CLASSES == 2
    assert not cfg.is_explicit("MODEL.ROI_HEADS.NUM_CLASSES")
    resolve_num_classes(cfg, [])
    assert cfg.MODEL.ROI_HEADS.NUM_CLASSES == 2


def test_explicit_number_of_classes_must_agree() -> None:
    cfg = config(["cars"])
    cfg.merge_from_list(["MODEL.ROI_HEADS.NUM_CLASSES", "5"])
    with pytest.raises(ConfigError) as caught:
        resolve_num_classes(cfg, ["dent", "scratch"])
    assert str(caught.value) == (
        "MODEL.ROI_HEADS.NUM_CLASSES is 5, but the data (cars) has 2 classes (dent, scratch): "
        "set it to 2, or leave the key out and it follows from the data."
    )
    cfg.MODEL.ROI_HEADS.NUM_CLASSES = 2
    resolve_num_classes(cfg, ["dent", "scratch"])


def test_ad_hoc_names_are_mapped_too(tmp_path: Path) -> None:
    for folder, labels in (("train", ["dent", "scratch"]), ("val", ["scratch"])):
        (tmp_path / folder).mkdir()
        Image.new("RGB", (60, 40)).save(tmp_path / folder / "a.jpg")
        shapes = [{"label": label, "points": [[1, 1], [9, 1], [9, 9]]} for label in labels]
        content = {"shapes": shapes, "imagePath": "a.jpg", "imageHeight": 40, "imageWidth": 60}
        (tmp_path / folder / "a.json").write_text(str(content).replace("'", '"'))
    train, val = (f"labelme:{tmp_path}/{folder}" for folder in ("train", "val"))
    assert prepare_datasets(config([train], [val])) == ["dent", "scratch"]
    assert ids_of(val) == [1]
    assert MetadataCatalog.get(val).thing_classes == ["dent", "scratch"]
    assert prepare_datasets(config([val])) == ["scratch"]
    assert ids_of(val) == [0]
