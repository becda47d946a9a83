"""On the real sets, wobbling outlines score as pycocotools scores them."""

from __future__ import annotations

import contextlib
import copy
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pycocotools.mask as mask_util
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from cardamage.evaluation.coco_ground_truth import GroundTruth
from cardamage.evaluation.coco_scoring import score_detections


def _wobbling(dataset: dict[str, Any], seed: int) -> list[dict[str, Any]]:
    rng = np.random.default_rng(seed)
    sizes = {image["id"]: (image["height"], image["width"]) for image in dataset["images"]}
    categories = [category["id"] for category in dataset["categories"]]
    detections = []
    for annotation in dataset["annotations"]:
        for _ in range(rng.integers(0, 4)):
            polygons = [[v + rng.normal() * 6 for v in polygon] for polygon in annotation["segmentation"]]
            rle = mask_util.merge(mask_util.frPyObjects(polygons, *sizes[annotation["image_id"]]))
            known = rng.random() < 0.8
            detections.append(
                {
                    "image_id": annotation["image_id"],
                    "category_id": annotation["category_id"] if known else int(rng.choice(categories)),
                    "score": float(rng.integers(0, 40) / 40),
                    "bbox": mask_util.toBbox(rle).tolist(),
                    "segmentation": rle,
                }
            )
    return detections


@pytest.mark.parametrize("task", ["bbox", "segm"])
@pytest.mark.parametrize(
    "file", ["carparts/testset/annotations.json", "damage-coco/train/_annotations.coco.json"]
)
def test_equal_to_pycocotools(file: str, task: str, real_data: Path) -> None:
    dataset = json.loads((real_data / file).read_text())
    for number, annotation in enumerate(dataset["annotations"], start=1):
        annotation["id"] = number  # pycocotools takes a match with id 0 for none
    detections = _wobbling(dataset, seed=1)
    given = [{**d} for d in detections]
    for detection in given:
        detection.pop("segmentation" if task == "bbox" else "bbox")
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO()
        truth.dataset = copy.deepcopy(dataset)
        truth.createIndex()
        reference = COCOeval(truth, truth.loadRes(given), task)
        reference.evaluate()
        reference.accumulate()
        reference.summarize()
    scores = score_detections(GroundTruth(dataset, file), detections, task)
    np.testing.assert_allclose(scores.precision, reference.eval["precision"], rtol=0, atol=1e-12)
    expected = np.where(reference.stats[:6] < 0, np.nan, reference.stats[:6])
    np.testing.assert_allclose(np.array(list(scores.metrics().values())) / 100, expected, rtol=0, atol=1e-12)
    assert 0 < scores.metrics()["AP"] < 100
