"""Samplers and pictures without objects as a config asks for them."""

from __future__ import annotations

import itertools
import logging
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from cardamage.catalog import DatasetCatalog, MetadataCatalog
from cardamage.config import CfgNode, get_cfg
from cardamage.config.validate import validate_cfg
from cardamage.data import build_detection_train_loader
from cardamage.data.preparation.class_alignment import prepare_datasets
from cardamage.data.samplers import RepeatFactorTrainingSampler, TrainingSampler
from cardamage.errors import ConfigValueError, DataError, UnknownDatasetError
from cardamage.structures import BoxMode
from cardamage.utils import comm

NAME = "sampling_keys_test"
SIZES = [(24, 32), (32, 24), (20, 30), (24, 24), (40, 20)]
# Image 0 to 11 have objects, 12 to 14 none, 15 nothing but a crowd.
COUNT, EMPTY, CROWD = 12, (12, 13, 14), 15


def _record(folder: Path, number: int) -> dict[str, Any]:
    height, width = SIZES[number % len(SIZES)]
    path = str(folder / f"{number}.png")
    cv2.imwrite(path, np.full((height, width, 3), number, np.uint8))
    note = {
        "bbox": [4, 5, 14, 20],
        "bbox_mode": BoxMode.XYXY_ABS,
        "category_id": int(number == 3),
        "segmentation": [[4, 5, 14, 5, 14, 20]],
    }
    notes = [] if number in EMPTY else [{**note, "iscrowd": int(number == CROWD)}]
    return {"file_name": path, "image_id": number, "height": height, "width": width, "annotations": notes}


@pytest.fixture
def records(tmp_path: Path) -> Iterator[list[dict[str, Any]]]:
    made = [_record(tmp_path, number) for number in range(16)]
    DatasetCatalog.register(NAME, lambda: made)
    MetadataCatalog.get(NAME).set(thing_classes=["dent", "scratch"])
    yield made
    DatasetCatalog.remove(NAME)
    MetadataCatalog.remove(NAME)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "undamaged"
    (folder / "more").mkdir(parents=True)
    for name, size in {"a.jpg": (30, 40), "more/b10.png": (40, 30), "more/b9.png": (30, 30)}.items():
        cv2.imwrite(str(folder / name), np.full((*size, 3), 200, np.uint8))
    (folder / "more/._b9.png").write_bytes(b"not a picture")
    (folder / "notes.txt").write_text("no picture")
    return folder


@pytest.fixture
def cfg(records: list[dict[str, Any]]) -> CfgNode:
    cfg = get_cfg()
    cfg.DATASETS.TRAIN = (NAME,)
    cfg.INPUT.MIN_SIZE_TRAIN = (16, 20)
    cfg.INPUT.CROP.ENABLED = True
    cfg.MODEL.MASK_ON = True
    cfg.SOLVER.IMS_PER_BATCH = 2
    cfg.SEED = 5
    cfg.DATALOADER.NUM_WORKERS = 0
    cfg.DATALOADER.ASPECT_RATIO_GROUPING = False
    return cfg


def _ids(cfg: CfgNode, count: int, **kwargs: Any) -> list[Any]:
    loader = build_detection_train_loader(cfg, mapper=lambda record: record.get("image_id"), **kwargs)
    return list(itertools.islice(loader, count))


def _places(cfg: CfgNode, count: int) -> list[list[int]]:
    """Places in the dataset, pictures with objects first, without reading any."""
    loader: Any = build_detection_train_loader(cfg, mapper=lambda record: record)
    return [[sample.item for sample in batch] for batch in itertools.islice(loader.batch_sampler, count)]


def _flat(batches: list[Any]) -> list[Any]:
    return list(itertools.chain.from_iterable(batches))


GROUPINGS = ["none", "orientation", "ratio", "size"]
KINDS = ["TrainingSampler", "RepeatFactorTrainingSampler", "ClassAwareSampler"]


def _set(cfg: CfgNode, kind: str, grouping: str, background: float) -> None:
    cfg.DATALOADER.SAMPLER_TRAIN = kind
    cfg.DATALOADER.REPEAT_THRESHOLD = 0.5
    cfg.DATALOADER.ASPECT_RATIO_GROUPING = grouping != "none"
    cfg.DATALOADER.SIZE_GROUPING = "orientation" if grouping == "none" else grouping
    cfg.DATALOADER.BACKGROUND_RATIO = background


@pytest.mark.parametrize("background", [0.0, 0.3])
@pytest.mark.parametrize("grouping", GROUPINGS)
@pytest.mark.parametrize("kind", KINDS)
def test_a_resumed_stream_goes_on_as_it_was(
    cfg: CfgNode, kind: str, grouping: str, background: float
) -> None:
    _set(cfg, kind, grouping, background)
    whole = _ids(cfg, 30)
    loader = build_detection_train_loader(cfg, mapper=lambda record: record["image_id"])
    assert list(itertools.islice(loader, 13)) == whole[:13]
    again = build_detection_train_loader(cfg, mapper=lambda record: record["image_id"])
    again.load_state_dict(loader.state_dict())
    assert list(itertools.islice(again, 17)) == whole[13:]
    cfg.SEED = 6
    assert _ids(cfg, 30) != whole


@pytest.mark.parametrize("background", [0.0, 0.3])
@pytest.mark.parametrize("grouping", GROUPINGS)
@pytest.mark.parametrize("kind", KINDS)
def test_two_ranks_share_what_one_would_see(
    cfg: CfgNode, kind: str, grouping: str, background: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    _set(cfg, kind, grouping, background)
    cfg.SOLVER.IMS_PER_BATCH = 4
    alone = Counter(_flat(_places(cfg, 200)))
    together: Counter[int] = Counter()
    monkeypatch.setattr(comm, "get_world_size", lambda: 2)
    for rank in range(2):
        monkeypatch.setattr(comm, "get_rank", lambda rank=rank: rank)
        batches = _places(cfg, 200)
        assert {len(batch) for batch in batches} == {2}
        together += Counter(_flat(batches))
    # Grouping lets some wait for their batch; besides them the pictures are the same.
    waiting = {"none": 0, "orientation": 4 * 3, "ratio": 0, "size": 0}[grouping]
    assert sum(((alone - together) + (together - alone)).values()) <= 2 * waiting


def test_each_class_comes_as_often(cfg: CfgNode) -> None:
    cfg.DATALOADER.SAMPLER_TRAIN = "ClassAwareSampler"
    drawn = Counter(_flat(_ids(cfg, 110)))
    # Image 3 alone is of class 1, eleven are of class 0.
    assert drawn == {3: 110, **{i: 10 for i in range(COUNT) if i != 3}}


def test_repeated_pictures_and_grouping_keep_the_factors(cfg: CfgNode, records: list[dict[str, Any]]) -> None:
    factors = RepeatFactorTrainingSampler.repeat_factors_from_category_frequency(records[:COUNT], 0.5)
    assert factors[3].item() == pytest.approx((0.5 * 12) ** 0.5)
    for grouping in GROUPINGS:
        _set(cfg, "RepeatFactorTrainingSampler", grouping, 0.0)
        drawn = Counter(_flat(_places(cfg, 1000)))
        for i in range(COUNT):
            assert drawn[i] / 2000 == pytest.approx(factors[i].item() / factors.sum().item(), rel=0.15)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("keep_empty", [False, True])
def test_background_of_the_training_sets(cfg: CfgNode, kind: str, keep_empty: bool) -> None:
    _set(cfg, kind, "none", 0.3)
    cfg.DATALOADER.FILTER_EMPTY_ANNOTATIONS = not keep_empty
    drawn = _flat(_ids(cfg, 500))
    assert sum(i in EMPTY for i in drawn) == 300
    assert Counter(i for i in drawn if i in EMPTY) == dict.fromkeys(EMPTY, 100)
    # What is only a crowd is neither; the rest is the sampler's own stream.
    assert CROWD not in drawn
    cfg.DATALOADER.BACKGROUND_RATIO = 0.0
    cfg.DATALOADER.FILTER_EMPTY_ANNOTATIONS = True
    assert [i for i in drawn if i not in EMPTY] == _flat(_ids(cfg, 350))


@pytest.mark.parametrize("keep_empty", [False, True])
def test_background_from_a_folder(
    cfg: CfgNode, photos: Path, keep_empty: bool, caplog: pytest.LogCaptureFixture
) -> None:
    cfg.DATASETS.BACKGROUND = (f"images:{photos}",)
    cfg.DATALOADER.BACKGROUND_RATIO = 0.25
    cfg.DATALOADER.FILTER_EMPTY_ANNOTATIONS = not keep_empty
    loader = build_detection_train_loader(cfg, mapper=lambda record: Path(record["file_name"]).name)
    with caplog.at_level(logging.INFO):
        drawn = Counter(_flat(list(itertools.islice(loader, 400))))
    own = ["12.png", "13.png", "14.png"] if keep_empty else []
    pool = ["a.jpg", "b9.png", "b10.png", *own]
    assert sum(drawn[name] for name in pool) == 200
    assert max(drawn[name] for name in pool) - min(drawn[name] for name in pool) <= 1
    assert set(drawn) == {*pool, *(f"{i}.png" for i in range(COUNT))}
    # They are trained on: without objects, but whole.
    cfg.DATALOADER.ASPECT_RATIO_GROUPING = True
    for batch in itertools.islice(build_detection_train_loader(cfg), 30):
        for sample in batch:
            empty = Path(sample["file_name"]).name in pool
            assert (len(sample["instances"]) == 0) >= empty
            assert len({s["width"] > s["height"] for s in batch}) == 1


def test_how_many_there_are_is_told(cfg: CfgNode, photos: Path, caplog: pytest.LogCaptureFixture) -> None:
    cfg.DATASETS.BACKGROUND = (f"images:{photos}",)
    cfg.DATALOADER.BACKGROUND_RATIO = 0.25
    with caplog.at_level(logging.INFO):
        _ids(cfg, 1)
    told = (
        "Training on 12 images with objects and 3 without, which are 25 of 100 seen; 4 others are left out."
    )
    assert told in caplog.text


def test_a_folder_of_photos_is_a_dataset(photos: Path) -> None:
    name = f"images:{photos}"
    records = DatasetCatalog.get(name)
    assert [Path(r["file_name"]).relative_to(photos).as_posix() for r in records] == [
        "a.jpg",
        "more/b9.png",
        "more/b10.png",
    ]
    assert [(r["height"], r["width"], r["image_id"], r["annotations"]) for r in records] == [
        (30, 40, 1, []),
        (30, 30, 2, []),
        (40, 30, 3, []),
    ]
    assert MetadataCatalog.get(name).get("thing_classes") is None
    (photos / "c.jpg").write_bytes(b"\xff\xd8\xff cut")
    DatasetCatalog.remove(name)
    with pytest.raises(DataError, match=r"c\.jpg"):
        DatasetCatalog.get(name)
    with pytest.raises(DataError, match="The folder of photos .*/no does not exist"):
        DatasetCatalog.get(f"images:{photos}/no")
    (photos / "empty").mkdir()
    with pytest.raises(DataError, match="There is no photo in .*/empty or below it"):
        DatasetCatalog.get(f"images:{photos}/empty")


def test_annotated_pictures_are_no_background(cfg: CfgNode, caplog: pytest.LogCaptureFixture) -> None:
    cfg.DATASETS.BACKGROUND = (NAME,)
    cfg.DATALOADER.BACKGROUND_RATIO = 0.5
    drawn = Counter(_flat(_ids(cfg, 300)))
    assert sum(drawn[i] for i in EMPTY) == 300
    assert "13 pictures with annotations are left out of the background" in caplog.text


def test_what_lost_its_objects_is_no_background(cfg: CfgNode, records: list[dict[str, Any]]) -> None:
    # A box without outline teaches a mask model nothing, but the damage is there.
    del records[0]["annotations"][0]["segmentation"]
    DatasetCatalog[NAME] = lambda: [{**r, "annotations": list(r["annotations"])} for r in records]
    prepare_datasets(cfg)
    cfg.DATALOADER.BACKGROUND_RATIO = 0.5
    assert 0 not in _flat(_ids(cfg, 100))


@pytest.mark.parametrize(
    ("change", "error", "sentence"),
    [
        ({"DATASETS.BACKGROUND": ("no_such",)}, UnknownDatasetError, "'no_such' is not registered"),
        (
            {"DATALOADER.SAMPLER_TRAIN": "ClassSampler"},
            ConfigValueError,
            "SAMPLER_TRAIN must be .*'ClassAware",
        ),
        (
            {"DATASETS.BACKGROUND": (NAME,), "MODEL.LOAD_PROPOSALS": True},
            ConfigValueError,
            "DATASETS.BACKGROUND has no proposal files",
        ),
    ],
)
def test_what_can_not_be_done_is_named(
    cfg: CfgNode, change: dict[str, Any], error: type[Exception], sentence: str
) -> None:
    cfg.DATALOADER.BACKGROUND_RATIO = 0.5
    cfg.merge_from_list([part for item in change.items() for part in item])
    if cfg.MODEL.LOAD_PROPOSALS:
        with pytest.raises(error, match=sentence):
            build_detection_train_loader(cfg, dataset=[], mapper=lambda record: record)
        return
    with pytest.raises(error, match=sentence):
        build_detection_train_loader(cfg)


def test_pictures_without_objects_have_to_be_there(cfg: CfgNode, records: list[dict[str, Any]]) -> None:
    cfg.DATALOADER.BACKGROUND_RATIO = 0.5
    full = records[:COUNT]
    with pytest.raises(DataError, match="every picture of the training sets has some: name a folder"):
        build_detection_train_loader(cfg, dataset=full)
    with pytest.raises(DataError, match="No image of the training sets has an annotation"):
        build_detection_train_loader(cfg, dataset=records[COUNT:])
    cfg.DATASETS.BACKGROUND = (NAME,)
    DatasetCatalog[NAME] = lambda: full
    with pytest.raises(
        DataError, match="Every picture of dataset 'sampling_keys_test' in DATASETS.BACKGROUND"
    ):
        build_detection_train_loader(cfg, dataset=full)


def test_a_sampler_of_ones_own_decides_itself(cfg: CfgNode, records: list[dict[str, Any]]) -> None:
    cfg.DATALOADER.BACKGROUND_RATIO = 0.5
    drawn = _ids(cfg, 3, dataset=records, sampler=TrainingSampler(16, shuffle=False))
    assert drawn == [[0, 1], [2, 3], [4, 5]]


@pytest.mark.parametrize("value", [-0.1, 0.95, float("nan")])
def test_a_bad_share_is_refused(value: float) -> None:
    cfg = get_cfg()
    cfg.DATALOADER.BACKGROUND_RATIO = value
    with pytest.raises(
        ConfigValueError, match="DATALOADER.BACKGROUND_RATIO is .*; it must be between 0 and 0.9"
    ):
        validate_cfg(cfg)


def test_names_of_background_sets_are_checked() -> None:
    cfg = get_cfg()
    cfg.DATASETS.BACKGROUND = (3,)
    with pytest.raises(ConfigValueError, match="DATASETS.BACKGROUND is .3,.; it must hold dataset names"):
        validate_cfg(cfg)
