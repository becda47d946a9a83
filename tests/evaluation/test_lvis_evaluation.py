"""LVIS's AP: cases worked out by hand, and random ones against the ``lvis`` package where it is installed."""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pycocotools.mask as mask_util
import pytest
import torch

from cardamage.catalog import DatasetCatalog, MetadataCatalog
from cardamage.data.datasets import register_lvis_instances
from cardamage.errors import EvaluationError
from cardamage.evaluation import LVISEvaluator
from cardamage.structures import Boxes, Instances, RLEMasks

H, W = 60, 80
METRICS = ("AP", "AP50", "AP75", "APs", "APm", "APl", "APr", "APc", "APf")
Register = Callable[[dict[str, Any]], str]


@pytest.fixture
def register(tmp_path: Path) -> Iterator[Register]:
    def add(truth: dict[str, Any]) -> str:
        file = tmp_path / "lvis_test.json"
        file.write_text(json.dumps(truth))
        register_lvis_instances("lvis_test_set", {}, file, tmp_path)
        DatasetCatalog.get("lvis_test_set")
        return "lvis_test_set"

    yield add
    DatasetCatalog.pop("lvis_test_set", None)
    MetadataCatalog.pop("lvis_test_set", None)


def _rle(x: int, y: int, w: int, h: int) -> dict[str, Any]:
    mask = np.zeros((H, W), np.uint8, order="F")
    mask[y : y + h, x : x + w] = 1
    return mask_util.encode(mask)


def _polygon(x: int, y: int, w: int, h: int) -> list[list[float]]:
    return [[x, y, x + w, y, x + w, y + h, x, y + h]]


def _object(number: int, image: int, category: int, box: tuple[int, int, int, int]) -> dict[str, Any]:
    return {
        "id": number,
        "image_id": image,
        "category_id": category,
        "bbox": list(box),
        "area": box[2] * box[3],
        "segmentation": _polygon(*box),
    }


def _truth(images: list[dict[str, Any]], objects: list[dict[str, Any]], frequencies: str) -> dict[str, Any]:
    size = {"height": H, "width": W}
    return {
        "images": [
            {**size, "coco_url": f"http://x/val2017/{i['id']}.jpg", "not_exhaustive_category_ids": [], **i}
            for i in images
        ],
        "annotations": objects,
        "categories": [
            {"id": i, "name": f"c{i}", "synonyms": [f"c{i}"], "frequency": f, "image_count": 1}
            for i, f in enumerate(frequencies, start=1)
        ],
    }


def _evaluate(
    name: str, found: dict[int, list[tuple[tuple[int, int, int, int], int, float]]], **options: Any
) -> tuple[dict[str, dict[str, float]], LVISEvaluator]:
    """``found``: per image id boxes (x, y, w, h), contiguous classes and scores."""
    evaluator = LVISEvaluator(name, **options)
    for image_id, entries in found.items():
        boxes = torch.tensor([[x, y, x + w, y + h] for (x, y, w, h), _, _ in entries], dtype=torch.float64)
        instances = Instances(
            (H, W),
            pred_boxes=Boxes(boxes.reshape(-1, 4)),
            pred_classes=torch.tensor([label for _, label, _ in entries], dtype=torch.int64),
            scores=torch.tensor([score for _, _, score in entries], dtype=torch.float64),
            pred_masks=RLEMasks([_rle(*box) for box, _, _ in entries], (H, W)),
        )
        evaluator.process([{"image_id": image_id}], [{"instances": instances}])
    return evaluator.evaluate(), evaluator


def test_what_was_not_annotated_does_not_count(register: Register, tmp_path: Path) -> None:
    box, away = (10, 10, 20, 20), (50, 30, 20, 20)
    images = [
        {"id": 1, "neg_category_ids": [2]},
        {"id": 2, "neg_category_ids": [], "not_exhaustive_category_ids": [1]},
        {"id": 3, "neg_category_ids": [1]},
    ]
    objects = [_object(1, 1, 1, box), _object(2, 2, 1, box), _object(3, 2, 2, box)]
    name = register(_truth(images, objects, "rf"))
    found = {
        # A wrong one of class 2, which image 1 was searched for; nothing is known of class 2 in image 3.
        1: [(box, 0, 0.9), (away, 1, 0.8)],
        2: [
            (away, 0, 0.95),
            (box, 0, 0.7),
            (box, 1, 0.6),
        ],  # the first matches nothing, but not all are drawn
        3: [(away, 1, 0.99)],
    }
    results, _ = _evaluate(name, found, output_dir=str(tmp_path / "out"))
    # Class 1: both found, nothing wrong counts: 100. Class 2: right after one wrong: precision 1/2.
    for task in ("bbox", "segm"):
        assert results[task]["APr"] == pytest.approx(100)
        assert results[task]["APf"] == pytest.approx(50)
        assert results[task]["AP"] == results[task]["AP75"] == pytest.approx(75)
        assert math.isnan(results[task]["APc"])
        assert set(results[task]) == set(METRICS)
    written = json.loads((tmp_path / "out/lvis_instances_results.json").read_text())
    assert sorted({record["category_id"] for record in written}) == [1, 2]


def test_the_limit_is_of_all_classes_together(register: Register) -> None:
    box = (10, 10, 20, 20)
    name = register(_truth([{"id": 1, "neg_category_ids": [1]}], [_object(1, 1, 2, box)], "ff"))
    found = {1: [(box, 0, 0.9), (box, 0, 0.8), (box, 1, 0.7)]}
    assert _evaluate(name, found, max_dets_per_image=3)[0]["bbox"]["AP"] == pytest.approx(100)
    assert _evaluate(name, found, max_dets_per_image=2)[0]["bbox"]["AP"] == 0


def test_without_predictions_and_for_other_files(register: Register) -> None:
    truth = _truth([{"id": 1, "neg_category_ids": []}], [_object(1, 1, 1, (1, 1, 9, 9))], "f")
    name = register(truth)
    results, _ = _evaluate(name, {1: []})
    assert math.isnan(results["bbox"]["AP"])
    for entry in truth["categories"]:
        del entry["frequency"]
    DatasetCatalog.remove(name)
    MetadataCatalog.remove(name)
    with pytest.raises(EvaluationError, match="without 'frequency', so it isn't LVIS's"):
        LVISEvaluator(register(truth))


def _random_case(seed: int) -> tuple[dict[str, Any], dict[int, Any]]:
    rng = np.random.default_rng(seed)

    def box() -> tuple[int, int, int, int]:
        w, h = rng.integers(1, [70, 50])
        return int(rng.integers(0, W - w + 1)), int(rng.integers(0, H - h + 1)), int(w), int(h)

    frequencies = "".join(rng.choice(list("rcf"), 6))
    images, objects, found = [], [], {}
    for image in range(1, 13):
        classes = rng.permutation(6) + 1
        images.append(
            {
                "id": image,
                "neg_category_ids": classes[:2].tolist(),
                "not_exhaustive_category_ids": classes[4:5].tolist(),
            }
        )
        found[image] = []
        for _ in range(rng.integers(0, 7)):
            own, label = box(), int(rng.choice(classes[2:]))
            objects.append(_object(len(objects) + 1, image, label, own))
            for _ in range(rng.integers(0, 3)):
                x, y = np.maximum(0, np.array(own[:2]) + rng.integers(-3, 4, 2)).tolist()
                near = (x, y, min(own[2], W - x), min(own[3], H - y))
                found[image].append((near, label - 1, float(rng.integers(1, 15)) / 15))
        for _ in range(rng.integers(0, 8)):
            found[image].append((box(), int(rng.integers(0, 6)), float(rng.integers(1, 15)) / 15))
    return _truth(images, objects, frequencies), found


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("limit", [None, 5])
def test_the_numbers_are_those_of_the_lvis_package(
    register: Register, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int, limit: int | None
) -> None:
    lvis = pytest.importorskip("lvis")
    monkeypatch.setattr(np, "float", float, raising=False)  # the package is older than its removal
    truth, found = _random_case(seed)
    results, _ = _evaluate(register(truth), found, max_dets_per_image=limit, output_dir=str(tmp_path / "out"))
    records = json.loads((tmp_path / "out/lvis_instances_results.json").read_text())
    reference = lvis.LVIS(str(tmp_path / "lvis_test.json"))
    for task in ("bbox", "segm"):
        given = copy.deepcopy(records)
        if task == "segm":
            for record in given:
                del record["bbox"]
        scorer = lvis.LVISEval(reference, lvis.LVISResults(reference, given, limit or 300), task)
        scorer.run()
        for metric, value in scorer.get_results().items():
            if metric in METRICS:
                wanted = math.nan if value == -1 else 100 * value
                assert results[task][metric] == pytest.approx(wanted, abs=1e-6, nan_ok=True), (task, metric)
