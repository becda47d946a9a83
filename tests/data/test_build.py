"""Loaders made from a config."""

from __future__ import annotations

import itertools
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pycocotools.mask as mask_util
import pytest
import torch

from cardamage.catalog import DatasetCatalog, MetadataCatalog
from cardamage.config import CfgNode, get_cfg
from cardamage.data import build_detection_test_loader, build_detection_train_loader
from cardamage.data.build import RepeatFactorTrainingSampler, TrainingSampler
from cardamage.errors import ConfigValueError, DataError
from cardamage.structures import BitMasks, BoxMode, PolygonMasks

NAME = "build_test"


def _record(folder: Path, number: int) -> dict[str, Any]:
    height, width = (24, 32) if number % 3 else (32, 24)
    picture = np.random.default_rng(number).integers(0, 256, (height, width, 3)).astype(np.uint8)
    path = str(folder / f"{number}.png")
    cv2.imwrite(path, picture)
    note = {
        "bbox": [4, 5, 14, 20],
        "bbox_mode": BoxMode.XYXY_ABS,
        "category_id": number % 2,
        "segmentation": [[4, 5, 14, 5, 14, 20]],
    }
    return {"file_name": path, "image_id": number, "height": height, "width": width, "annotations": [note]}


@pytest.fixture
def records(tmp_path: Path) -> Iterator[list[dict[str, Any]]]:
    made = [_record(tmp_path, number) for number in range(9)]
    DatasetCatalog.register(NAME, lambda: made)
    MetadataCatalog.get(NAME).set(thing_classes=["dent", "scratch"])
    yield made
    DatasetCatalog.remove(NAME)
    MetadataCatalog.remove(NAME)


@pytest.fixture
def cfg(records: list[dict[str, Any]]) -> CfgNode:
    cfg = get_cfg()
    cfg.DATASETS.TRAIN = cfg.DATASETS.TEST = (NAME,)
    cfg.INPUT.MIN_SIZE_TRAIN = (16, 20)
    cfg.INPUT.MIN_SIZE_TEST = 16
    cfg.INPUT.CROP.ENABLED = True
    cfg.MODEL.MASK_ON = True
    cfg.SOLVER.IMS_PER_BATCH = 2
    cfg.SEED = 5
    cfg.DATALOADER.NUM_WORKERS = 0
    return cfg


def _numbers(batches: Any) -> list[Any]:
    return [
        [
            (
                s["image_id"],
                s["image"].shape,
                s["image"].sum().item(),
                s["instances"].gt_boxes.tensor.tolist(),
            )
            for s in batch
        ]
        for batch in batches
    ]


def test_training_batches_depend_on_the_seed_only(cfg: CfgNode) -> None:
    runs = []
    for workers in (0, 2):
        cfg.DATALOADER.NUM_WORKERS = workers
        runs.append(_numbers(itertools.islice(build_detection_train_loader(cfg), 8)))
    assert runs[0] == runs[1]
    rest = build_detection_train_loader(cfg, start_batch=5)
    assert _numbers(itertools.islice(rest, 3)) == runs[0][5:]
    cfg.SEED = 6
    assert _numbers(itertools.islice(build_detection_train_loader(cfg), 8)) != runs[0]


def test_a_negative_seed_means_other_batches_every_time(cfg: CfgNode) -> None:
    cfg.SEED = -1
    first, second = (_numbers(itertools.islice(build_detection_train_loader(cfg), 8)) for _ in range(2))
    assert [[s[0] for s in batch] for batch in first] != [[s[0] for s in batch] for batch in second]


def test_images_of_a_batch_have_one_orientation(cfg: CfgNode) -> None:
    for batch in itertools.islice(build_detection_train_loader(cfg), 10):
        assert len(batch) == 2
        assert len({sample["width"] > sample["height"] for sample in batch}) == 1


@pytest.mark.parametrize("workers", [0, 2])
def test_one_size_a_batch(cfg: CfgNode, workers: int) -> None:
    cfg.INPUT.CROP.ENABLED = False
    cfg.INPUT.RANDOM_FLIP = "none"
    cfg.INPUT.MIN_SIZE_TRAIN = (16, 40)
    cfg.INPUT.MIN_SIZE_TRAIN_SAMPLING = "range"
    cfg.DATALOADER.NUM_WORKERS = workers
    short = {}
    for kind in ("ratio", "size"):
        cfg.DATALOADER.SIZE_GROUPING = kind
        batches = itertools.islice(build_detection_train_loader(cfg), 12)
        short[kind] = [[min(sample["image"].shape[1:]) for sample in batch] for batch in batches]
    assert all(one == other for one, other in short["size"])
    assert len({one for one, _ in short["size"]}) > 6
    assert sum(one != other for one, other in short["ratio"]) > 6


def test_near_sizes_need_known_sizes(cfg: CfgNode, records: list[dict[str, Any]]) -> None:
    cfg.DATALOADER.SIZE_GROUPING = "ratio"
    with pytest.raises(ConfigValueError, match="SIZE_GROUPING 'ratio' needs dataset dicts that tell width"):
        build_detection_train_loader(cfg, dataset=[{"file_name": "a"}] * 4, mapper=lambda record: record)


def test_arguments_overrule_the_config(cfg: CfgNode, records: list[dict[str, Any]]) -> None:
    loader = build_detection_train_loader(
        cfg,
        mapper=lambda record: record["image_id"],
        dataset=records[:3],
        total_batch_size=3,
        aspect_ratio_grouping=False,
        sampler=TrainingSampler(3, shuffle=False),
    )
    assert next(iter(loader)) == [0, 1, 2]


def test_inference_keeps_order_and_empty_images(cfg: CfgNode, records: list[dict[str, Any]]) -> None:
    records[4]["annotations"] = []
    batches = list(build_detection_test_loader(cfg, NAME))
    assert [batch[0]["image_id"] for batch in batches] == list(range(9))
    assert all(min(batch[0]["image"].shape[1:]) == 16 for batch in batches)
    assert "instances" not in batches[0][0]
    assert len(list(build_detection_test_loader(cfg, [NAME], batch_size=4))) == 3


@pytest.mark.parametrize("workers", [0, 2])
def test_inference_in_batches(cfg: CfgNode, records: list[dict[str, Any]], workers: int) -> None:
    cfg.TEST.IMS_PER_BATCH = 4
    cfg.DATALOADER.NUM_WORKERS = workers
    batches = list(build_detection_test_loader(cfg, NAME))
    assert [[sample["image_id"] for sample in batch] for batch in batches] == [
        [0, 1, 2, 3],
        [4, 5, 6, 7],
        [8],
    ]


def test_rare_classes_can_be_repeated(cfg: CfgNode, records: list[dict[str, Any]]) -> None:
    for record in records:
        record["annotations"][0]["category_id"] = int(record["image_id"] == 2)
    cfg.DATALOADER.SAMPLER_TRAIN = "RepeatFactorTrainingSampler"
    cfg.DATALOADER.REPEAT_THRESHOLD = 1.0
    cfg.DATALOADER.ASPECT_RATIO_GROUPING = False
    loader = build_detection_train_loader(cfg, mapper=lambda record: record["image_id"])
    drawn = torch.tensor(list(itertools.islice(loader, 300))).flatten().bincount()
    factors = RepeatFactorTrainingSampler.repeat_factors_from_category_frequency(records, 1.0)
    assert factors[2].item() == pytest.approx(3.0)
    assert drawn[2] / drawn.float().mean() > 2


@pytest.mark.parametrize("workers", [0, 2])
def test_trouble_is_told_before_the_first_step(
    cfg: CfgNode, records: list[dict[str, Any]], workers: int
) -> None:
    cfg.DATALOADER.NUM_WORKERS = workers
    Path(records[1]["file_name"]).unlink()
    Path(records[8]["file_name"]).unlink()
    with pytest.raises(DataError, match="2 of 9 images do not exist: .*1.png, .*8.png"):
        build_detection_train_loader(cfg)
    cfg.INPUT.CHECK_IMAGES = False
    build_detection_train_loader(cfg)  # not looked at
    with pytest.raises(DataError, match="does not exist"):
        list(itertools.islice(build_detection_train_loader(cfg), 9))
    del records[3]["annotations"][0]["segmentation"]
    with pytest.raises(DataError, match="3.png has a box but no segmentation"):
        build_detection_train_loader(cfg)


def test_one_rle_makes_all_masks_bitmaps(cfg: CfgNode, records: list[dict[str, Any]]) -> None:
    mask = np.zeros((records[2]["height"], records[2]["width"]), np.uint8, order="F")
    mask[6:20, 5:12] = 1
    samples = itertools.chain(*itertools.islice(build_detection_train_loader(cfg), 9))
    assert {type(sample["instances"].gt_masks) for sample in samples} == {PolygonMasks}
    records[2]["annotations"][0]["segmentation"] = mask_util.encode(mask)
    samples = itertools.chain(*itertools.islice(build_detection_train_loader(cfg), 9))
    assert {type(sample["instances"].gt_masks) for sample in samples} == {BitMasks}


def test_wrong_keys_are_named(cfg: CfgNode) -> None:
    cfg.DATALOADER.SAMPLER_TRAIN = "TrainSampler"
    with pytest.raises(ConfigValueError, match="SAMPLER_TRAIN must be .* got 'TrainSampler'"):
        build_detection_train_loader(cfg)
    cfg.DATALOADER.SAMPLER_TRAIN = "TrainingSampler"
    cfg.SOLVER.IMS_PER_BATCH = 0
    with pytest.raises(ConfigValueError, match="SOLVER.IMS_PER_BATCH"):
        build_detection_train_loader(cfg)


def test_proposals_come_with_each_image(cfg: CfgNode, records: list[dict[str, Any]], tmp_path: Path) -> None:
    boxes = [np.array([[1, 2, 9, 9], [0, 0, 4 + n, 8]], np.float32) for n in range(len(records))]
    content = {"ids": list(range(9)), "boxes": boxes, "objectness_logits": [np.array([0.0, 1.0])] * 9}
    file = tmp_path / "proposals.pkl"
    file.write_bytes(pickle.dumps(content))
    cfg.MODEL.LOAD_PROPOSALS = True
    cfg.INPUT.CROP.ENABLED = False
    cfg.DATASETS.TEST = ("another", NAME)
    with pytest.raises(ConfigValueError, match=f"needs a proposal file for '{NAME}'"):
        build_detection_test_loader(cfg, NAME)
    cfg.DATASETS.PROPOSAL_FILES_TEST = ("not there", str(file))
    for number, (sample,) in enumerate(build_detection_test_loader(cfg, NAME)):
        scale = 16 / 24
        found = sample["proposals"]
        wanted = torch.tensor([[0, 0, 4 + number, 8], [1, 2, 9, 9]]) * scale
        # The longer side is 32 * 2 / 3 = 21.33 pixels, made 21.
        torch.testing.assert_close(found.proposal_boxes.tensor, wanted, atol=0.4, rtol=0)
        assert found.objectness_logits.tolist() == [1, 0]
    cfg.DATASETS.PROPOSAL_FILES_TRAIN = (str(file),)
    for batch in itertools.islice(build_detection_train_loader(cfg), 3):
        assert all(len(sample["proposals"]) == 2 for sample in batch)
