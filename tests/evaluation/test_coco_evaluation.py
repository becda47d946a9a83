"""The COCO evaluator from outputs to result dict and files."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from cardamage.catalog import DatasetCatalog, MetadataCatalog
from cardamage.data import load_proposals_into_dataset
from cardamage.errors import EvaluationError
from cardamage.evaluation import COCOEvaluator
from cardamage.structures import Boxes, BoxMode, Instances, RLEMasks

H, W = 120, 160
METRICS = ["AP", "AP50", "AP75", "APs", "APm", "APl"]


def _square(x: float, y: float, side: float, category: int, **fields: Any) -> dict[str, Any]:
    corners = [x, y, x + side, y, x + side, y + side, x, y + side]
    box = {"bbox": [x, y, x + side, y + side], "bbox_mode": BoxMode.XYXY_ABS}
    return {**box, "category_id": category, "segmentation": [corners], **fields}


def _record(image_id: Any, *annotations: dict[str, Any]) -> dict[str, Any]:
    return {
        "file_name": f"{image_id}.jpg",
        "image_id": image_id,
        "height": H,
        "width": W,
        "annotations": list(annotations),
    }


@pytest.fixture
def dataset() -> Iterator[Callable[..., str]]:
    """Registers dataset dicts for the time of a test."""
    names = []

    def register(dicts: list[dict[str, Any]], **metadata: Any) -> str:
        name = f"evaluation_test_{len(names)}"
        names.append(name)
        DatasetCatalog.register(name, lambda: dicts)
        MetadataCatalog.get(name).set(**{"thing_classes": ["dent", "scratch", "crack"], **metadata})
        return name

    yield register
    for name in names:
        DatasetCatalog.remove(name)
        MetadataCatalog.remove(name)


DICTS = [
    _record(7, _square(10, 10, 20, 0), _square(60, 20, 60, 1)),
    _record(3, _square(30, 30, 50, 0), _square(100, 50, 1, 1)),  # one pixel
    _record(9),
]


def _evaluate(name: str, outputs: dict[Any, Instances], **options: Any) -> dict[str, Any]:
    evaluator = COCOEvaluator(name, **options)
    evaluator.reset()
    for image_id, instances in outputs.items():
        evaluator.process([{"image_id": image_id}], [{"instances": instances}])
    return evaluator.evaluate()


def _none(masks: bool = True) -> Instances:
    fields = {
        "pred_boxes": Boxes(torch.zeros(0, 4)),
        "scores": torch.zeros(0),
        "pred_classes": torch.zeros(0).long(),
    }
    return Instances((H, W), **fields, **({"pred_masks": torch.zeros(0, H, W).bool()} if masks else {}))


@pytest.fixture
def perfect(as_predictions: Callable[..., Instances]) -> dict[Any, Instances]:
    return {record["image_id"]: as_predictions(record) for record in DICTS}


def test_perfect_predictions(dataset: Callable[..., str], perfect: dict[Any, Instances]) -> None:
    results = _evaluate(dataset(DICTS), perfect)
    for task in ("bbox", "segm"):
        assert list(results[task]) == [*METRICS, "AP-dent", "AP-scratch", "AP-crack"]
        assert [results[task][m] for m in METRICS] == pytest.approx([100.0] * 5 + [math.nan], nan_ok=True)
        assert results[task]["AP-dent"] == results[task]["AP-scratch"] == pytest.approx(100.0)
        assert math.isnan(results[task]["AP-crack"])


@pytest.mark.parametrize("kind", ["bool", "rle"])
def test_masks_of_either_kind(kind: str, dataset: Callable[..., str], perfect: dict[Any, Instances]) -> None:
    for instances in perfect.values():
        masks = instances.pred_masks.to_tensor()
        instances.pred_masks = masks if kind == "bool" else RLEMasks.from_tensor(masks)
    assert _evaluate(dataset(DICTS), perfect)["segm"]["AP"] == pytest.approx(100.0)


def test_files_hold_the_datasets_own_category_ids(
    dataset: Callable[..., str], perfect: dict[Any, Instances], tmp_path: Path
) -> None:
    name = dataset(DICTS, thing_dataset_id_to_contiguous_id={4: 0, 90: 1, 6: 2})
    results = _evaluate(name, perfect, output_dir=str(tmp_path))
    assert results["segm"]["AP-scratch"] == pytest.approx(100.0)
    written = json.loads((tmp_path / "coco_instances_results.json").read_text())
    assert [(r["image_id"], r["category_id"]) for r in written] == [(7, 4), (7, 90), (3, 4), (3, 90)]
    assert written[0]["bbox"] == [10, 10, 20, 20]
    assert written[0]["segmentation"]["size"] == [H, W]
    assert isinstance(written[0]["segmentation"]["counts"], str)
    saved = torch.load(tmp_path / "instances_predictions.pth", weights_only=True)
    assert [(p["image_id"], len(p["instances"])) for p in saved] == [(7, 2), (3, 2), (9, 0)]
    assert saved[0]["instances"][1]["category_id"] == 1


def test_no_detection_at_all(dataset: Callable[..., str], caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        results = _evaluate(dataset(DICTS), {7: _none(), 3: _none()})
    assert list(results) == ["bbox", "segm"]
    assert list(results["segm"]) == METRICS
    assert all(math.isnan(value) for value in results["segm"].values())
    assert caplog.messages[0] == (
        "AP of boxes is nan: the model made no prediction. Train longer, or lower "
        "MODEL.ROI_HEADS.SCORE_THRESH_TEST."
    )


def test_no_object_annotated(
    dataset: Callable[..., str], perfect: dict[Any, Instances], caplog: pytest.LogCaptureFixture
) -> None:
    empty = [{**record, "annotations": []} for record in DICTS]
    with caplog.at_level(logging.WARNING):
        results = _evaluate(dataset(empty), perfect)
    assert math.isnan(results["segm"]["AP"])
    assert "AP of masks is nan: the dataset has no annotated object to score against." in caplog.messages


def test_nothing_right(
    dataset: Callable[..., str], perfect: dict[Any, Instances], caplog: pytest.LogCaptureFixture
) -> None:
    for instances in perfect.values():
        instances.pred_classes = instances.pred_classes.new_full((len(instances),), 2)
    with caplog.at_level(logging.WARNING):
        results = _evaluate(dataset(DICTS), perfect)
    assert results["bbox"]["AP"] == 0
    assert any(m.startswith("AP of boxes is 0: none of the 4 predictions covers") for m in caplog.messages)


def test_no_image(dataset: Callable[..., str], caplog: pytest.LogCaptureFixture) -> None:
    name = dataset(DICTS)
    assert _evaluate(name, {}) == {}
    assert caplog.messages == [f"No image of '{name}' was processed, so there is nothing to evaluate."]


def test_tables_are_logged(
    dataset: Callable[..., str], perfect: dict[Any, Instances], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        _evaluate(dataset(DICTS), perfect)
    assert "| dent    | 100.00 | 100.00 |         2 |       2 |" in caplog.text
    assert "| 100.00 | 100.00 | 100.00 | 100.00 | 100.00 |   nan |" in caplog.text
    assert "nan for boxes: no annotated object falls under APl (area over 96x96 px)." in caplog.messages
    assert "| crack   |    nan |    nan |         0 |       0 |" in caplog.text


def test_crowd_neither_counts_nor_hurts(dataset: Callable[..., str], perfect: dict[Any, Instances]) -> None:
    crowd = _square(0, 60, 55, 0, iscrowd=1)
    name = dataset([{**DICTS[0], "annotations": [*DICTS[0]["annotations"], crowd]}, *DICTS[1:]])
    inside = Instances(
        (H, W),
        pred_boxes=Boxes(torch.tensor([[5.0, 70.0, 25.0, 90.0]])),
        scores=torch.tensor([1.0]),
        pred_classes=torch.tensor([0]),
        pred_masks=RLEMasks.from_tensor(
            torch.nn.functional.pad(torch.ones(1, 20, 20), (5, W - 25, 70, H - 90)) > 0
        ),
    )
    evaluator = COCOEvaluator(name)
    for image_id, instances in perfect.items():
        evaluator.process([{"image_id": image_id}], [{"instances": instances}])
    evaluator.process([{"image_id": 7}], [{"instances": inside}])
    results = evaluator.evaluate()
    assert results["bbox"]["AP"] == results["segm"]["AP"] == pytest.approx(100.0)


def test_boxes_only(dataset: Callable[..., str], perfect: dict[Any, Instances]) -> None:
    bare = [
        {**r, "annotations": [{k: v for k, v in a.items() if k != "segmentation"} for a in r["annotations"]]}
        for r in DICTS
    ]
    assert list(_evaluate(dataset(bare), perfect)) == ["bbox"]


@pytest.mark.parametrize(
    ("tasks", "expected"), [(("bbox",), ["bbox"]), (["segm"], ["segm"]), (None, ["bbox", "segm"])]
)
def test_tasks(
    tasks: Any, expected: list[str], dataset: Callable[..., str], perfect: dict[Any, Instances]
) -> None:
    assert list(_evaluate(dataset(DICTS), perfect, tasks=tasks)) == expected


def test_masks_that_are_asked_for_must_be_predicted(
    dataset: Callable[..., str], perfect: dict[Any, Instances]
) -> None:
    for instances in perfect.values():
        instances.remove("pred_masks")
    with pytest.raises(EvaluationError, match="asked for 'segm', but the model predicts no masks"):
        _evaluate(dataset(DICTS), perfect, tasks=("bbox", "segm"))


def test_image_subset_and_text_ids(dataset: Callable[..., str], perfect: dict[Any, Instances]) -> None:
    name = dataset([{**record, "image_id": f"car {record['image_id']}"} for record in DICTS])
    evaluator = COCOEvaluator(name)
    evaluator.process([{"image_id": "car 7"}], [{"instances": perfect[7]}])
    assert evaluator.evaluate()["bbox"]["AP"] < 60  # half of the objects were never shown
    assert evaluator.evaluate(img_ids=["car 7"])["bbox"]["AP"] == pytest.approx(100.0)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"pred_classes": torch.tensor([0, 3])}, "The model predicts class 3, but .* has 3 classes"),
        (
            {"pred_masks": RLEMasks.from_tensor(torch.ones(2, 50, 40))},
            "mask of image id 7 is 40x50 px, but the ground truth of .* says 160x120",
        ),
    ],
)
def test_errors(
    change: dict[str, Any], sentence: str, dataset: Callable[..., str], perfect: dict[Any, Instances]
) -> None:
    for field, value in change.items():
        perfect[7].set(field, value)
    name = dataset(DICTS, thing_dataset_id_to_contiguous_id={1: 0, 2: 1, 3: 2})
    with pytest.raises(EvaluationError, match=sentence):
        _evaluate(name, perfect)


def test_unknown_image_and_task(dataset: Callable[..., str], perfect: dict[Any, Instances]) -> None:
    name = dataset(DICTS)
    with pytest.raises(EvaluationError, match="prediction for image id 8, which the ground truth"):
        _evaluate(name, {8: perfect[7]})
    with pytest.raises(EvaluationError, match="can't evaluate 'keypoints'; its tasks are 'bbox' and 'segm'"):
        COCOEvaluator(name, tasks=("keypoints",))


def test_ground_truth_file(
    dataset: Callable[..., str], perfect: dict[Any, Instances], tmp_path: Path
) -> None:
    """With a json_file, that is what counts; ids from 0 in it do no harm."""
    file = tmp_path / "truth.json"
    annotations = [
        {"id": 0, "image_id": 7, "category_id": 4, "bbox": [10, 10, 20, 20], "area": 400, "iscrowd": 0},
        {"id": 1, "image_id": 7, "category_id": 5, "bbox": [60, 20, 60, 60], "area": 3600, "iscrowd": 0},
    ]
    content = {
        "images": [{"id": 7, "height": H, "width": W}],
        "categories": [{"id": i, "name": str(i)} for i in (4, 5, 6)],
        "annotations": annotations,
    }
    file.write_text(json.dumps(content))
    mapping = {4: 0, 5: 1, 6: 2}
    name = dataset(DICTS, json_file=str(file), thing_dataset_id_to_contiguous_id=mapping)
    assert _evaluate(name, {7: perfect[7]})["bbox"]["AP"] == pytest.approx(100.0)
    del content["annotations"]
    file.write_text(json.dumps(content))
    assert _evaluate(name, {7: perfect[7]}, output_dir=str(tmp_path / "out")) == {}
    assert (tmp_path / "out" / "coco_instances_results.json").is_file()
    file.write_text("{")
    with pytest.raises(EvaluationError, match="Can't read the ground truth"):
        COCOEvaluator(name)


def test_proposals(dataset: Callable[..., str]) -> None:
    proposals = Instances(
        (H, W),
        proposal_boxes=Boxes(
            torch.tensor([[0.0, 0.0, 5.0, 5.0], [10.0, 10.0, 30.0, 30.0], [60.0, 20.0, 120.0, 50.0]])
        ),
        objectness_logits=torch.tensor([3.0, 1.0, 2.0]),
    )
    evaluator = COCOEvaluator(dataset(DICTS[:1]))
    evaluator.process([{"image_id": 7}], [{"proposals": proposals}])
    recalls = evaluator.evaluate()["box_proposals"]
    # One object is met exactly (all ten thresholds), of the other half (IoU 0.5: the first threshold).
    assert recalls["AR@100"] == pytest.approx(100 * (1 + 0.1) / 2)
    assert recalls["ARs@100"] == pytest.approx(100)
    assert recalls["ARm@1000"] == pytest.approx(10)
    assert math.isnan(recalls["ARl@100"])


def test_fast_and_official_agree(dataset: Callable[..., str], perfect: dict[Any, Instances]) -> None:
    rng = np.random.default_rng(0)
    for instances in perfect.values():
        instances.scores = torch.from_numpy(rng.random(len(instances)))
        instances.pred_boxes.tensor += torch.from_numpy(rng.normal(0, 2, (len(instances), 4)))
    name = dataset(DICTS)
    fast, official = (_evaluate(name, perfect, use_fast_impl=choice) for choice in (True, False))
    for task, metrics in official.items():
        assert fast[task] == pytest.approx(metrics, abs=1e-10, nan_ok=True)


def test_proposals_are_written_for_the_loader(dataset: Callable[..., str], tmp_path: Path) -> None:
    boxes = torch.tensor([[1.0, 2.0, 9.0, 8.0], [10.0, 10.0, 30.0, 31.5]])
    proposals = Instances((H, W), proposal_boxes=Boxes(boxes), objectness_logits=torch.tensor([-1.0, 2.0]))
    evaluator = COCOEvaluator(dataset(DICTS), output_dir=str(tmp_path))
    evaluator.process([{"image_id": 7}], [{"proposals": proposals}])
    evaluator.evaluate()
    (record,) = load_proposals_into_dataset([{"image_id": 7}], tmp_path / "box_proposals.pkl")
    assert record["proposal_bbox_mode"] == BoxMode.XYXY_ABS
    assert record["proposal_boxes"].tolist() == boxes.flip(0).tolist()  # best first
    assert record["proposal_objectness_logits"].tolist() == [2, -1]
