"""Ground truth fed back as predictions scores 100 on every real set, in every format."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from cardamage.data import DatasetCatalog
from cardamage.evaluation import COCOEvaluator
from cardamage.structures import Instances

SETS = {
    "carparts-train": (
        "coco:{}/carparts/trainingset/annotations.json@{}/carparts/trainingset/JPEGImages",
        True,
    ),
    "carparts-test": ("coco:{}/carparts/testset/annotations.json@{}/carparts/testset/JPEGImages", True),
    "damage-coco-train": ("coco:{}/damage-coco/train/_annotations.coco.json", True),
    "damage-coco-valid": ("coco:{}/damage-coco/valid/_annotations.coco.json", True),
    "damage-coco-test": ("coco:{}/damage-coco/test/_annotations.coco.json", True),
    "damage-labelme": ("labelme:{}/damage-labelme/label", True),
    "damage-via-train": ("via:{}/damage-via/train/via_region_data.json", True),
    "damage-via-val": ("via:{}/damage-via/val/via_region_data.json", True),
    "damage-via-project": ("via:{}/damage-via/train/car-damage-train.json", True),
    "damage-via-parts-train": ("via:{}/damage-via/train/train_multiclass.json", True),
    "damage-via-parts-val": ("via:{}/damage-via/val/val_multiclass.json", True),
    "yolo-seg-train": ("yolo:{}/odd/odd-yoloseg-parts-rectpoly/data.yaml#train", True),
    "yolo-seg-valid": ("yolo:{}/odd/odd-yoloseg-parts-rectpoly/data.yaml#val", True),
    "yolo-seg-test": ("yolo:{}/odd/odd-yoloseg-parts-rectpoly/data.yaml#test", True),
    "yolo-box": ("yolo:{}/odd/odd-yolobox/surya/config.yaml#train", False),
}


@pytest.mark.parametrize("name", SETS)
@pytest.mark.parametrize("fast", [True, False], ids=["fast", "official"])
def test_scores_100(name: str, fast: bool, real_data: Path, as_predictions: Callable[..., Instances]) -> None:
    pattern, masks = SETS[name]
    dataset = pattern.replace("{}", str(real_data))
    dicts = DatasetCatalog.get(dataset)
    evaluator = COCOEvaluator(dataset, distributed=False, use_fast_impl=fast)
    evaluator.reset()
    for record in dicts:
        evaluator.process([record], [{"instances": as_predictions(record, masks)}])
    results = evaluator.evaluate()
    assert set(results) == ({"bbox", "segm"} if masks else {"bbox"})
    assert sum(len(record["annotations"]) for record in dicts) > 0
    for task, metrics in results.items():
        for metric in ("AP", "AP50", "AP75"):
            assert metrics[metric] == pytest.approx(100.0, abs=1e-9), (task, metric)
