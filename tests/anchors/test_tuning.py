"""Fitting anchors: to planted shapes, to odd data, and never to anything worse."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from cardamage.anchors import TuningSettings, read_task, tune_anchors
from cardamage.catalog import DatasetCatalog, MetadataCatalog
from cardamage.config import CfgNode, get_cfg
from cardamage.errors import ConfigValueError, DataError
from cardamage.structures import BoxMode
from tests.support.paths import REPOSITORY

QUICK = TuningSettings(starts=3, generations=120)
Make = Callable[..., CfgNode]


@pytest.fixture
def make() -> Iterator[Make]:
    """A function from boxes (XYXY on 400x400 pictures) to a config that trains on them as they are."""
    name = "boxes_to_tune_for"

    def build(boxes: np.ndarray, *opts: Any, picture: int = 400) -> CfgNode:
        annotations = [
            {"bbox": box, "bbox_mode": BoxMode.XYXY_ABS, "category_id": 0}
            for box in np.asarray(boxes).tolist()
        ]
        record = {"file_name": "car.jpg", "image_id": 1, "height": picture, "width": picture}
        DatasetCatalog.pop(name, None)
        DatasetCatalog.register(name, lambda: [{**record, "annotations": annotations}])
        MetadataCatalog.get(name).thing_classes = ["damage"]
        cfg = get_cfg()
        cfg.merge_from_file(str(REPOSITORY / "configs" / "Base-RCNN-FPN.yaml"))
        cfg.merge_from_list(["DATASETS.TRAIN", (name,), "INPUT.MIN_SIZE_TRAIN", (picture,), *opts])
        return cfg

    yield build
    DatasetCatalog.pop(name, None)
    MetadataCatalog.pop(name)


def _boxes(rng: np.random.Generator, sides: np.ndarray, picture: int = 400) -> np.ndarray:
    start = rng.uniform(0, 1, sides.shape) * (picture - sides)
    return np.concatenate([start, start + sides], axis=1)


@pytest.mark.parametrize("share", ["ratios", "nothing"])
def test_thin_boxes_get_thin_anchors(make: Make, share: str, fresh_seed: int) -> None:
    rng = np.random.default_rng(fresh_seed)
    length = np.exp(rng.uniform(np.log(40), np.log(350), 400))
    thin = length / rng.uniform(8, 12, 400)
    lying = rng.random(400) < 0.5
    sides = np.stack([np.where(lying, length, thin), np.where(lying, thin, length)], axis=1)
    cfg = make(_boxes(rng, sides))
    task = read_task(cfg)
    tuned = tune_anchors(cfg, task, TuningSettings(share=share, starts=3, generations=200))
    before, after = task.coverage(task.grid), task.coverage(tuned.grid)
    assert after.placed["all"].reached >= before.placed["all"].reached
    for threshold in (0.5, 0.7):
        assert after.placed["all"].recall(threshold) >= before.placed["all"].recall(threshold)
    assert after.placed["all"].recall(0.5) > before.placed["all"].recall(0.5) + 0.3
    ratios = np.array(tuned.lists.ratios)
    assert ratios.min() < 0.25
    assert ratios.max() > 4
    assert len(tuned.lists.ratios) == (1 if share == "ratios" else 5)


def test_a_seed_gives_the_same_anchors(make: Make) -> None:
    rng = np.random.default_rng(3)
    cfg = make(_boxes(rng, rng.uniform(5, 300, (200, 2))))
    task = read_task(cfg)
    first, second, other = (
        tune_anchors(cfg, task, TuningSettings(starts=2, generations=40, seed=seed)).lists
        for seed in (1, 1, 2)
    )
    assert first == second
    assert first != other


def test_anchors_are_as_many_as_asked_for(make: Make) -> None:
    rng = np.random.default_rng(3)
    cfg = make(_boxes(rng, rng.uniform(5, 300, (200, 2))))
    task = read_task(cfg)
    lists = tune_anchors(cfg, task, TuningSettings(sizes=2, ratios=4, starts=2, generations=20)).lists
    assert np.array(lists.sizes).shape == (5, 2)
    assert np.array(lists.ratios).shape == (1, 4)
    lists = tune_anchors(cfg, task, TuningSettings(share="all", sizes=4, starts=2, generations=20)).lists
    assert np.array(lists.sizes).shape == (1, 4)
    with pytest.raises(ConfigValueError, match="so one size is too few: ask for more with --sizes"):
        tune_anchors(cfg, task, TuningSettings(share="all"))


def test_one_feature_map(make: Make) -> None:
    rng = np.random.default_rng(3)
    make(_boxes(rng, rng.uniform(5, 300, (200, 2))))
    cfg = get_cfg()
    cfg.merge_from_file(str(REPOSITORY / "configs" / "Base-RCNN-C4.yaml"))
    cfg.DATASETS.TRAIN = ("boxes_to_tune_for",)
    task = read_task(cfg)
    lists = tune_anchors(cfg, task, QUICK).lists
    assert np.array(lists.sizes).shape == (1, 5)
    assert np.array(lists.ratios).shape == (1, 3)


def test_boxes_of_a_pixel_and_of_huge_ratio(make: Make, fresh_seed: int) -> None:
    rng = np.random.default_rng(fresh_seed)
    sides = np.concatenate(
        [np.ones((50, 2)), rng.uniform([300, 1], [390, 2], (50, 2)), rng.uniform(1, 390, (50, 2))]
    )
    cfg = make(_boxes(rng, sides))
    task = read_task(cfg)
    tuned = tune_anchors(cfg, task, QUICK)
    assert all(size > 0 for group in tuned.lists.sizes for size in group)
    after, before = task.coverage(tuned.grid), task.coverage(task.grid)
    assert after.placed["all"].reached >= before.placed["all"].reached
    assert np.isfinite(after.placed["all"].mean)


@pytest.mark.parametrize("count", [1, 200])
def test_too_few_shapes_are_one_sentence(make: Make, count: int) -> None:
    cfg = make(np.tile([[10.0, 10, 60, 40]], (count, 1)))
    task = read_task(cfg)
    with pytest.raises(
        DataError,
        match=rf"^boxes_to_tune_for has {count} box(es)? of 1 different shape, fewer than the 15 anchors",
    ):
        tune_anchors(cfg, task, QUICK)
    # What they are can still be told.
    assert task.coverage(task.grid).placed["all"].boxes == count


def test_no_boxes_are_one_sentence(make: Make) -> None:
    with pytest.raises(DataError, match=r"^boxes_to_tune_for has no boxes to learn from"):
        read_task(make(np.zeros((0, 4))))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"share": "boxes"}, "--share is 'boxes'; it must be one of ratios, nothing, all"),
        ({"ratios": -1}, "--ratios is -1; it must be at least 0"),
        ({"starts": 0}, "--starts is 0; it must be at least 1"),
        ({"generations": -5}, "--generations is -5; it must be at least 0"),
    ],
)
def test_bad_settings_are_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigValueError, match=message):
        TuningSettings(**values)
