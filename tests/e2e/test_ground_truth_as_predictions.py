"""Ground truth fed back as predictions must score 1.000 on every real set, boxes and masks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pycocotools.mask as mask_util
import pytest
import torch

import cardamage.data  # noqa: F401  (registers the names)
from cardamage.catalog import DatasetCatalog
from cardamage.evaluation import COCOEvaluator
from cardamage.structures import Boxes, Instances

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason="the real photographs are not here")


def mask_of(segmentation: Any, height: int, width: int) -> np.ndarray:
    if isinstance(segmentation, list):
        segmentation = mask_util.merge(mask_util.frPyObjects(segmentation, height, width))
    return mask_util.decode(segmentation).astype(bool)


def as_prediction(record: dict[str, Any], masks: bool) -> dict[str, Instances]:
    height, width, objects = record["height"], record["width"], record["annotations"]
    found = Instances((height, width))
    found.pred_boxes = Boxes(torch.tensor([a["bbox"] for a in objects], dtype=torch.float32).reshape(-1, 4))
    found.scores = torch.ones(len(objects))
    found.pred_classes = torch.tensor([a["category_id"] for a in objects], dtype=torch.int64)
    if masks:
        drawn = [mask_of(a["segmentation"], height, width) for a in objects]
        found.pred_masks = torch.from_numpy(np.array(drawn).reshape(-1, height, width))
    return {"instances": found}


@pytest.mark.parametrize(
    ("name", "masks"),
    [
        ("carparts_test", True),
        ("coco:{}/damage-coco/valid/_annotations.coco.json", True),
        ("coco:{}/damage-coco/test/_annotations.coco.json", True),
        ("labelme:{}/damage-labelme", True),
        ("via:{}/damage-via/train/train_multiclass.json", True),
        ("via:{}/damage-via/val/car-damage-val.json", True),
        ("yolo:{}/odd/odd-yoloseg-parts-rectpoly/data.yaml#train", True),
        ("yolo:{}/odd/odd-yolobox/surya/config.yaml", False),
    ],
)
def test_ground_truth_scores_full_marks(name: str, masks: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DETECTRON2_DATASETS", str(DATA))
    name = name.format(DATA)
    evaluator = COCOEvaluator(name)
    evaluator.reset()
    for record in DatasetCatalog.get(name):
        evaluator.process([record], [as_prediction(record, masks)])
    results = evaluator.evaluate()
    assert set(results) == ({"bbox", "segm"} if masks else {"bbox"})
    for task in results:
        assert results[task]["AP"] == pytest.approx(100.0, abs=1e-9)
