"""Metrics that can and can't pick the best checkpoint."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from cardamage.catalog import DatasetCatalog, MetadataCatalog
from cardamage.config import CfgNode, get_cfg
from cardamage.engine import DefaultTrainer
from cardamage.engine.best_metric import check_best_metric, fallback_metrics
from cardamage.errors import ConfigValueError
from cardamage.evaluation import COCOEvaluator, DatasetEvaluator

CLASSES = ["dent", "scratch"]


@pytest.fixture
def dataset() -> Iterator[str]:
    record: dict[str, Any] = {"file_name": "a.png", "height": 4, "width": 4, "image_id": 1, "annotations": []}
    DatasetCatalog.register("best_metric_cars", lambda: [record])
    MetadataCatalog.get("best_metric_cars").set(thing_classes=CLASSES)
    yield "best_metric_cars"
    DatasetCatalog.remove("best_metric_cars")
    MetadataCatalog.remove("best_metric_cars")


def config(metric: str, *datasets: str) -> CfgNode:
    cfg = get_cfg()
    cfg.DATASETS.TEST = datasets
    cfg.TEST.BEST_CHECKPOINT.METRIC = metric
    return cfg


def coco(cfg: CfgNode, name: str) -> COCOEvaluator:
    return COCOEvaluator(name)


@pytest.mark.parametrize(
    "metric",
    ["segm/AP", "bbox/AP75", "segm/APs", "bbox/AP-scratch", "best_metric_cars/segm/AP", "validation_loss"],
)
def test_metrics_that_exist(dataset: str, metric: str) -> None:
    check_best_metric(config(metric, dataset), CLASSES, coco)


@pytest.mark.parametrize(
    ("metric", "hint"),
    [
        ("segm/APP", "; did you mean segm/AP?"),
        ("sgem/AP50", "; did you mean segm/AP50?"),
        ("bbox/AP-dnet", "; did you mean bbox/AP-dent?"),
        ("accuracy", "; use one such as segm/AP, bbox/AP50 or segm/AP-CLASS."),
    ],
)
def test_metrics_that_do_not(dataset: str, metric: str, hint: str) -> None:
    with pytest.raises(ConfigValueError) as caught:
        check_best_metric(config(metric, dataset), CLASSES, coco)
    assert str(caught.value) == (
        f"TEST.BEST_CHECKPOINT.METRIC is '{metric}', which the evaluation doesn't measure{hint}"
    )


def test_a_class_alone_has_no_number_of_its_own(dataset: str) -> None:
    with pytest.raises(ConfigValueError, match="did you mean"):
        check_best_metric(config("segm/AP-dent", dataset), ["dent"], coco)
    check_best_metric(config("segm/AP-dent", dataset), [], coco)


def test_what_is_not_known_is_let_be(dataset: str) -> None:
    check_best_metric(config("accuracy", dataset), CLASSES, DefaultTrainer.build_evaluator)
    check_best_metric(config("accuracy", dataset), CLASSES, lambda cfg, name: DatasetEvaluator())
    check_best_metric(config("accuracy"), CLASSES, coco)
    cfg = config("accuracy", dataset)
    cfg.TEST.BEST_CHECKPOINT.ENABLED = False
    check_best_metric(cfg, CLASSES, coco)


def test_fallbacks_know_the_test_sets() -> None:
    assert fallback_metrics(config("segm/AP", "cars")) == (
        "cars/segm/AP",
        "segm/AP",
        "bbox/AP",
        "cars/bbox/AP",
    )
    assert "segm/AP" in fallback_metrics(config("vans/segm/AP", "cars", "vans"))
