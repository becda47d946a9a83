"""The fast scorer, the official one and pycocotools used directly must agree."""

from __future__ import annotations

import contextlib
import copy
import io
import math
from typing import Any

import numpy as np
import pycocotools.mask as mask_util
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from cardamage.evaluation.coco_ground_truth import GroundTruth
from cardamage.evaluation.coco_scoring import score_detections

H, W = 150, 220


def _blob(rng: np.random.Generator) -> np.ndarray:
    """A random ellipse, sometimes of a single pixel."""
    mask = np.zeros((H, W), np.uint8)
    y, x = rng.integers(0, H), rng.integers(0, W)
    if rng.random() < 0.1:
        mask[y, x] = 1
        return mask
    ry, rx = rng.uniform(2, 70, 2)
    yy, xx = np.mgrid[:H, :W]
    return ((((yy - y) / ry) ** 2 + ((xx - x) / rx) ** 2) <= 1).astype(np.uint8)


def _record(mask: np.ndarray, **fields: Any) -> dict[str, Any]:
    rle = mask_util.encode(np.asfortranarray(mask))
    box, area = mask_util.toBbox(rle).tolist(), float(mask_util.area(rle))
    rle["counts"] = rle["counts"].decode("ascii")
    return {"bbox": box, "area": area, "segmentation": rle, **fields}


def _random_case(seed: int) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    rng = np.random.default_rng(seed)
    images = [{"id": int(i), "height": H, "width": W} for i in rng.permutation(50)[:8]]
    categories = [{"id": c, "name": f"class {c}"} for c in (1, 3, 7, 9)]  # 9 has no object
    objects, detections = [], []
    for image in images:
        for _ in range(rng.integers(0, 7)):
            mask = _blob(rng)
            category = int(rng.choice([1, 3, 7]))
            crowd = int(rng.random() < 0.15)
            objects.append(
                _record(mask, id=len(objects) + 1, image_id=image["id"], category_id=category, iscrowd=crowd)
            )
            for _ in range(rng.integers(0, 4)):
                shifted = np.roll(mask, rng.integers(-4, 5, 2), axis=(0, 1))
                label = category if rng.random() < 0.8 else int(rng.choice([1, 3, 7, 9]))
                score = float(rng.integers(0, 12)) / 12  # many ties
                detections.append(_record(shifted, image_id=image["id"], category_id=label, score=score))
        for _ in range(rng.integers(0, 20)):
            label, score = int(rng.choice([1, 3, 7])), float(rng.random())
            detections.append(_record(_blob(rng), image_id=image["id"], category_id=label, score=score))
    return {"images": images, "categories": categories, "annotations": objects}, detections


def _reference(dataset: dict, detections: list[dict], task: str, max_dets: list[int]) -> COCOeval:
    dataset, detections = copy.deepcopy(dataset), copy.deepcopy(detections)
    for detection in detections:
        detection.pop("area")
        detection.pop("bbox" if task == "segm" else "segmentation")
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO()
        truth.dataset = dataset
        truth.createIndex()
        evaluation = COCOeval(truth, truth.loadRes(detections), task)
        evaluation.params.maxDets = max_dets
        evaluation.evaluate()
        evaluation.accumulate()
        if max_dets == [1, 10, 100]:
            evaluation.summarize()
    return evaluation


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("task", ["bbox", "segm"])
@pytest.mark.parametrize("fast", [True, False])
def test_equal_to_pycocotools(seed: int, task: str, fast: bool) -> None:
    dataset, detections = _random_case(seed)
    reference = _reference(dataset, detections, task, [1, 10, 100])
    scores = score_detections(GroundTruth(dataset, "random"), detections, task, fast=fast)
    np.testing.assert_allclose(scores.precision, reference.eval["precision"], rtol=0, atol=1e-12)
    for name, expected in zip(scores.metrics(), reference.stats[:6], strict=True):
        actual = scores.metrics()[name]
        if expected < 0:
            assert math.isnan(actual), name
        else:
            assert actual == pytest.approx(100 * expected, abs=1e-10), name


@pytest.mark.parametrize("max_dets", [1, 3, 40])
@pytest.mark.parametrize("task", ["bbox", "segm"])
def test_limit_of_detections(max_dets: int, task: str) -> None:
    dataset, detections = _random_case(100 + max_dets)
    reference = _reference(dataset, detections, task, [max_dets])
    for fast in (True, False):
        scores = score_detections(GroundTruth(dataset, "r"), detections, task, max_dets=max_dets, fast=fast)
        expected = reference.eval["precision"][..., 0, 0]
        assert scores.average_precision() == pytest.approx(100 * expected[expected > -1].mean(), abs=1e-10)


@pytest.mark.parametrize("task", ["bbox", "segm"])
def test_subset_of_images(task: str) -> None:
    dataset, detections = _random_case(5)
    chosen = [image["id"] for image in dataset["images"][::2]]
    part = {**dataset, "images": [image for image in dataset["images"] if image["id"] in chosen]}
    part["annotations"] = [a for a in dataset["annotations"] if a["image_id"] in chosen]
    expected = _reference(part, [d for d in detections if d["image_id"] in chosen], task, [1, 10, 100])
    for fast in (True, False):
        scores = score_detections(GroundTruth(dataset, "r"), detections, task, img_ids=chosen, fast=fast)
        np.testing.assert_allclose(scores.precision, expected.eval["precision"], rtol=0, atol=1e-12)


def test_per_class_is_that_classes_mean() -> None:
    dataset, detections = _random_case(7)
    scores = score_detections(GroundTruth(dataset, "r"), detections, "segm")
    reference = _reference(dataset, detections, "segm", [1, 10, 100]).eval["precision"]
    for k, category in enumerate((1, 3, 7)):
        expected = reference[:, :, k, 0, -1]
        actual = scores.average_precision(category_id=category)
        assert actual == pytest.approx(100 * expected[expected > -1].mean(), abs=1e-10)
    assert math.isnan(scores.average_precision(category_id=9))


@pytest.mark.parametrize("fast", [True, False])
def test_inputs_are_left_alone(fast: bool) -> None:
    dataset, detections = _random_case(3)
    before = copy.deepcopy((dataset, detections))
    truth = GroundTruth(dataset, "r")
    first = score_detections(truth, detections, "segm", fast=fast).metrics()
    assert score_detections(truth, detections, "segm", fast=fast).metrics() == pytest.approx(
        first, nan_ok=True
    )
    assert (dataset, detections) == before


def test_annotation_id_zero_counts() -> None:
    """With the file's own ids, COCO reads a match with object 0 as no match: AP 25, not 100."""
    boxes = [[10.0, 10.0, 40.0, 40.0], [100.0, 50.0, 30.0, 60.0]]
    dataset = {
        "images": [{"id": 0, "height": H, "width": W}],
        "categories": [{"id": 0, "name": "dent"}],
        "annotations": [
            {"id": i, "image_id": 0, "category_id": 0, "iscrowd": 0, "bbox": b, "area": b[2] * b[3]}
            for i, b in enumerate(boxes)
        ],
    }
    found = [{"image_id": 0, "category_id": 0, "bbox": b, "score": 0.9} for b in boxes]
    for fast in (True, False):
        scores = score_detections(GroundTruth(dataset, "ids from 0"), found, "bbox", fast=fast)
        assert scores.metrics()["AP"] == pytest.approx(100.0)
