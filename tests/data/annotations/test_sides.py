"""Left doors become right doors exactly where a picture is mirrored."""

from __future__ import annotations

import copy
import itertools
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from cardamage.catalog import DatasetCatalog, MetadataCatalog
from cardamage.config import CfgNode, get_cfg, make_exact
from cardamage.data import (
    DatasetMapper,
    build_detection_train_loader,
    get_detection_dataset_dicts,
    prepare_datasets,
)
from cardamage.data import detection_utils as utils
from cardamage.data import transforms as T
from cardamage.data.annotations.sides import is_mirrored
from cardamage.errors import ConfigValueError, DataError
from cardamage.structures import BoxMode

NAME = "sides_of_cars"
CLASSES = ["hood", "left_door", "right_door"]


class Transpose(T.Transform):
    """Swaps x and y: a mirror in the diagonal."""

    def apply_image(self, img: np.ndarray) -> np.ndarray:
        return np.swapaxes(img, 0, 1)

    def apply_coords(self, coords: np.ndarray) -> np.ndarray:
        return coords[:, ::-1]


def note(category: int, x: float) -> dict[str, Any]:
    outline = [x, 4, x + 10, 4, x + 10, 16, x, 16]
    box = {"bbox": [x, 4, 10, 12], "bbox_mode": BoxMode.XYWH_ABS}
    return {**box, "category_id": category, "segmentation": [outline], "iscrowd": 0}


@pytest.fixture
def record(tmp_path: Path) -> dict[str, Any]:
    """A left door at the left, a hood, a right door at the right."""
    picture = np.random.default_rng(0).integers(0, 256, (40, 60, 3)).astype(np.uint8)
    cv2.imwrite(str(tmp_path / "a.png"), picture)
    notes = [note(1, 2), note(0, 20), note(2, 44)]
    return {
        "file_name": str(tmp_path / "a.png"),
        "image_id": 3,
        "height": 40,
        "width": 60,
        "annotations": notes,
    }


@pytest.fixture
def cfg(record: dict[str, Any]) -> Iterator[CfgNode]:
    DatasetCatalog.register(NAME, lambda: [copy.deepcopy(record)])
    MetadataCatalog.get(NAME).thing_classes = list(CLASSES)
    cfg = get_cfg()
    cfg.MODEL.MASK_ON = True
    cfg.DATASETS.TRAIN = (NAME,)
    cfg.SOLVER.IMS_PER_BATCH = 1
    cfg.DATALOADER.NUM_WORKERS = 0
    yield cfg
    DatasetCatalog.remove(NAME)
    MetadataCatalog.remove(NAME)


def classes_of(sample: dict[str, Any]) -> list[int]:
    return sample["instances"].gt_classes.tolist()


H, V = T.HFlipTransform(60), T.VFlipTransform(40)
QUARTER = T.RotationTransform(40, 60, 90)
SHRUNK = T.ResizeTransform(40, 60, 20, 31)


@pytest.mark.parametrize(
    ("steps", "mirrored"),
    [
        ([], False),
        ([H], True),
        ([V], True),
        ([H, V], False),
        ([H, H], False),
        ([V, H, V], True),
        ([QUARTER], False),
        ([T.RotationTransform(40, 60, 180)], False),
        ([T.RotationTransform(40, 60, 31.5), SHRUNK, H], True),
        ([SHRUNK], False),
        ([T.CropTransform(10, 5, 20, 20), T.PadTransform(3, 4, 5, 6)], False),
        ([T.ExtentTransform((5, 5, 50, 30), (20, 30))], False),
        ([T.BlendTransform(np.zeros(3), 0.5, 0.5), T.NoOpTransform()], False),
        ([Transpose()], True),
        ([Transpose(), QUARTER, H], False),
        ([T.TransformList([H, SHRUNK]), V], False),
    ],
)
def test_what_is_a_mirror(steps: list[T.Transform], mirrored: bool) -> None:
    assert is_mirrored(T.TransformList(steps)) is mirrored
    if len(steps) == 1:
        assert is_mirrored(steps[0]) is mirrored


@pytest.mark.parametrize("mask_format", ["polygon", "bitmask"])
@pytest.mark.parametrize(
    ("flips", "wanted"), [([H], [2, 0, 1]), ([V], [2, 0, 1]), ([H, V], [1, 0, 2]), ([], [1, 0, 2])]
)
def test_the_mapper(
    cfg: CfgNode, record: dict[str, Any], flips: list[Any], wanted: list[int], mask_format: str
) -> None:
    cfg.INPUT.MASK_FORMAT = mask_format
    before = copy.deepcopy(record)
    sample = DatasetMapper(cfg, True, augmentations=flips)(record)
    assert record == before
    assert classes_of(sample) == wanted
    # The places move with the picture as ever, each class to its own.
    left_edges = [48, 30, 6] if H in flips else [2, 20, 44]
    assert sample["instances"].gt_boxes.tensor[:, 0].tolist() == left_edges


def test_random_flips_swap_as_often_as_they_flip(cfg: CfgNode) -> None:
    cfg.INPUT.MIN_SIZE_TRAIN = (40,)
    seen = set()
    for (sample,) in itertools.islice(build_detection_train_loader(cfg), 24):
        flipped = sample["instances"].gt_boxes.tensor[0, 0].item() == 48
        assert classes_of(sample) == ([2, 0, 1] if flipped else [1, 0, 2])
        seen.add(flipped)
    assert seen == {True, False}


def custom_mapper(given: dict[str, Any]) -> dict[str, Any]:
    """As Detectron2's guide writes them; it knows nothing of sides."""
    given = copy.deepcopy(given)
    picture = T.AugInput(utils.read_image(given["file_name"], format="BGR"))
    transforms = T.AugmentationList([T.RandomFlip(prob=1.0)])(picture)
    image = torch.from_numpy(np.ascontiguousarray(picture.image.transpose(2, 0, 1)))
    notes = [
        utils.transform_instance_annotations(one, transforms, image.shape[1:])
        for one in given.pop("annotations")
    ]
    return {**given, "image": image, "instances": utils.annotations_to_instances(notes, image.shape[1:])}


@pytest.mark.parametrize(("setting", "wanted"), [("auto", [2, 0, 1]), ("none", [1, 0, 2])])
def test_a_mapper_of_ones_own(cfg: CfgNode, setting: str, wanted: list[int]) -> None:
    cfg.INPUT.FLIP_CLASS_PAIRS = setting
    ((sample,),) = itertools.islice(build_detection_train_loader(cfg, mapper=custom_mapper), 1)
    assert classes_of(sample) == wanted
    ((sample,),) = itertools.islice(
        build_detection_train_loader(cfg, mapper=DatasetMapper(cfg, True, augmentations=[H])), 1
    )
    assert classes_of(sample) == wanted


def test_arguments_without_a_config(record: dict[str, Any], cfg: CfgNode) -> None:
    marked = get_detection_dataset_dicts(NAME)
    mapper = DatasetMapper(True, augmentations=[H], image_format="BGR", use_instance_mask=True)
    assert classes_of(mapper(marked[0])) == [2, 0, 1]
    assert classes_of(mapper(record)) == [1, 0, 2]
    given = DatasetMapper(
        True, augmentations=[H], image_format="BGR", class_flip_indices=utils.create_class_hflip_indices(NAME)
    )
    assert classes_of(given(record)) == classes_of(given(marked[0])) == [2, 0, 1]


def test_the_catalogs_records_stay_as_they_are() -> None:
    kept = [{"file_name": "a.png", "annotations": [note(1, 2)]}]
    DatasetCatalog.register("kept_sides", lambda: kept)
    MetadataCatalog.get("kept_sides").thing_classes = list(CLASSES)
    found = get_detection_dataset_dicts("kept_sides")
    assert found[0]["annotations"][0]["mirrored_category_id"] == 2
    assert kept[0]["annotations"] == [note(1, 2)]
    DatasetCatalog.remove("kept_sides")
    MetadataCatalog.remove("kept_sides")


def test_twice_is_once_there_and_back(record: dict[str, Any], cfg: CfgNode) -> None:
    one = get_detection_dataset_dicts(NAME)[0]["annotations"][0]
    utils.transform_instance_annotations(one, [H], (40, 60))
    assert one["category_id"] == 2
    utils.transform_instance_annotations(one, H, (40, 60))
    assert one["category_id"] == 1
    assert one["bbox"].tolist() == [2, 4, 12, 16]


@pytest.mark.parametrize(
    ("setting", "wanted"),
    [
        ("none", [1, 0, 2]),
        ("[[hood, left_door]]", [0, 1, 2]),
        ("[['hood', 'left_door']]", [0, 1, 2]),
        ([["right_door", "left_door"]], [2, 0, 1]),
        ([], [1, 0, 2]),
    ],
)
def test_pairs_by_config(cfg: CfgNode, record: dict[str, Any], setting: Any, wanted: list[int]) -> None:
    cfg.merge_from_list(["INPUT.FLIP_CLASS_PAIRS", setting])
    assert classes_of(DatasetMapper(cfg, True, augmentations=[H])(record)) == wanted


def test_pairs_by_metadata(cfg: CfgNode, record: dict[str, Any]) -> None:
    MetadataCatalog.get(NAME).thing_flip_map = [("hood", "right_door")]
    assert classes_of(DatasetMapper(cfg, True, augmentations=[H])(record)) == [1, 2, 0]
    MetadataCatalog.get(NAME).replace(thing_flip_map=[])
    assert classes_of(DatasetMapper(cfg, True, augmentations=[H])(record)) == [1, 0, 2]


def test_class_ids_of_numpy(cfg: CfgNode, record: dict[str, Any]) -> None:
    for one in record["annotations"]:
        one["category_id"] = np.int64(one["category_id"])
    assert classes_of(DatasetMapper(cfg, True, augmentations=[H])(record)) == [2, 0, 1]


def test_exact_is_detectron2s_plain_flip(cfg: CfgNode, record: dict[str, Any]) -> None:
    make_exact(cfg)
    assert classes_of(DatasetMapper(cfg, True, augmentations=[H])(record)) == [1, 0, 2]


@pytest.mark.parametrize(
    "setting", ["sometimes", "[[hood, left_door", [["a"]], ["ab"], 3, [["a", "b", "c"]], True]
)
def test_a_setting_that_is_none(cfg: CfgNode, setting: Any) -> None:
    with pytest.raises(
        ConfigValueError, match='INPUT.FLIP_CLASS_PAIRS is .* but "auto", "none" or a list of pairs'
    ):
        cfg.merge_from_list(["INPUT.FLIP_CLASS_PAIRS", setting])
    cfg.INPUT.FLIP_CLASS_PAIRS = setting
    with pytest.raises(ConfigValueError, match="INPUT.FLIP_CLASS_PAIRS is"):
        DatasetMapper(cfg, True)


def test_pairs_of_no_class(cfg: CfgNode) -> None:
    cfg.INPUT.FLIP_CLASS_PAIRS = [["left_dor", "right_door"]]
    with pytest.raises(DataError, match="INPUT.FLIP_CLASS_PAIRS names 'left_dor'.*did you mean left_door"):
        build_detection_train_loader(cfg)


def test_sets_that_differ(cfg: CfgNode) -> None:
    DatasetCatalog.register("other_sides", lambda: [])
    MetadataCatalog.get("other_sides").set(
        thing_classes=list(CLASSES), thing_flip_map=[("hood", "left_door")]
    )
    cfg.DATASETS.TRAIN = (NAME, "other_sides")
    with pytest.raises(DataError, match="differ in their thing_flip_map: set INPUT.FLIP_CLASS_PAIRS"):
        DatasetMapper(cfg, True)
    DatasetCatalog.remove("other_sides")
    MetadataCatalog.remove("other_sides")


def test_pairs_survive_classes_brought_together(cfg: CfgNode, record: dict[str, Any]) -> None:
    longer = {**record, "annotations": [note(3, 2)]}
    DatasetCatalog.register("longer_sides", lambda: [longer])
    MetadataCatalog.get("longer_sides").thing_classes = ["right_door", "wheel", "hood", "left_door"]
    MetadataCatalog.get(NAME).thing_flip_map = [("left_door", "right_door")]
    cfg.DATASETS.TRAIN = (NAME, "longer_sides")
    assert prepare_datasets(cfg) == ["right_door", "wheel", "hood", "left_door"]
    first, second = (DatasetCatalog.get(name)[0] for name in cfg.DATASETS.TRAIN)
    mapper = DatasetMapper(cfg, True, augmentations=[H])
    assert classes_of(mapper(first)) == [0, 2, 3]
    assert classes_of(mapper(second)) == [0]
    cfg.DATASETS.TRAIN = (NAME,)
    prepare_datasets(cfg)
    DatasetCatalog.remove("longer_sides")
    MetadataCatalog.remove("longer_sides")


def test_the_log_names_the_pairs_once(cfg: CfgNode, caplog: pytest.LogCaptureFixture) -> None:
    MetadataCatalog.get(NAME).replace(
        thing_classes=["hood", "far_left_door", "far_right_door", "left_mirror"]
    )
    with caplog.at_level(logging.INFO, logger="cardamage"):
        for _ in range(2):
            build_detection_train_loader(cfg)
    told = [r for r in caplog.records if "irrored pictures" in r.getMessage()]
    assert [r.getMessage() for r in told] == [
        "Mirrored pictures exchange the classes far_left_door and far_right_door.",
        "Mirrored pictures show left_mirror under the wrong name, as no other class is its counterpart: name "
        "the pairs in INPUT.FLIP_CLASS_PAIRS, or set INPUT.RANDOM_FLIP to none.",
    ]
    assert [r.levelno for r in told] == [logging.INFO, logging.WARNING]


def test_evaluation_does_not_ask_for_pairs(cfg: CfgNode, record: dict[str, Any]) -> None:
    cfg.INPUT.FLIP_CLASS_PAIRS = [["nobody", "knows"]]
    assert "instances" not in DatasetMapper(cfg, False)(record)
