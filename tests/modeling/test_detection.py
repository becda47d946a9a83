from __future__ import annotations

import numpy as np
import pytest
import torch

from cardamage.errors import ConfigValueError
from cardamage.modeling.postprocessing import detector_postprocess
from cardamage.modeling.roi_heads import fast_rcnn_inference
from cardamage.modeling.roi_heads.detection import Suppression
from cardamage.structures import Boxes, Instances


def _iou(a: np.ndarray, b: np.ndarray) -> float:
    w, h = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    inter = max(w, 0) * max(h, 0)
    area = [(x[2] - x[0]) * (x[3] - x[1]) for x in (a, b)]
    return inter / (sum(area) - inter) if inter else 0.0


def _reference(
    boxes: np.ndarray, scores: np.ndarray, size: tuple[int, int], thresh: float, nms: float, top: int
) -> list[tuple[float, int, int]]:
    """(score, class, row) of the detections, greedily."""
    clipped = np.clip(
        boxes.reshape(len(boxes), scores.shape[1] - 1, 4), 0, [size[1], size[0], size[1], size[0]]
    )
    found = [
        (scores[row, cls], cls, row)
        for row in range(len(boxes))
        for cls in range(scores.shape[1] - 1)
        if scores[row, cls] > thresh
    ]
    kept: list[tuple[float, int, int]] = []
    for score, cls, row in sorted(found, reverse=True):
        others = [k for k in kept if k[1] == cls]
        if all(_iou(clipped[row, cls], clipped[o[2], cls]) <= nms for o in others):
            kept.append((score, cls, row))
    return kept[:top]


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("counts", [(0,), (30,), (12, 0, 25)])
@pytest.mark.parametrize("top", [5, 100])
def test_detections_against_a_greedy_reference(seed: int, counts: tuple[int, ...], top: int) -> None:
    rng = np.random.default_rng(seed)
    size, classes = (60, 80), 3
    boxes, scores = [], []
    for count in counts:
        corner = rng.uniform(-10, 40, (count, classes, 2))
        box = np.concatenate([corner, corner + rng.uniform(5, 60, corner.shape)], axis=2)
        boxes.append(box.reshape(count, classes * 4))
        scores.append(rng.dirichlet(np.ones(classes + 1), count).reshape(count, classes + 1))
    results, rows = fast_rcnn_inference(
        [torch.from_numpy(b).float() for b in boxes],
        [torch.from_numpy(s).float() for s in scores],
        [size] * len(counts),
        0.1,
        0.4,
        top,
    )
    for box, score, result, row in zip(boxes, scores, results, rows, strict=True):
        expected = _reference(box, score, size, 0.1, 0.4, top)
        assert row.tolist() == [r for _, _, r in expected]
        assert result.pred_classes.tolist() == [c for _, c, _ in expected]
        np.testing.assert_allclose(result.scores, [s for s, _, _ in expected], rtol=1e-6)


@pytest.mark.parametrize("seed", range(3))
def test_boxes_of_other_classes_suppress_where_classes_do_not_count(seed: int) -> None:
    rng = np.random.default_rng(seed)
    corner = rng.uniform(0, 40, (60, 2))
    boxes = np.concatenate([corner, corner + rng.uniform(5, 30, corner.shape)], axis=1).astype(np.float32)
    scores, classes = rng.uniform(0, 1, 60).astype(np.float32), rng.integers(0, 3, 60)
    images = [range(25), range(25, 25), range(25, 60)]
    given = torch.from_numpy(boxes), torch.from_numpy(scores), torch.from_numpy(classes)
    for across in (False, True):
        found = Suppression(0.3, class_agnostic=across).on_images(*given, [len(image) for image in images])
        for image, (kept, final) in zip(images, found, strict=True):
            expected: list[int] = []
            for place in sorted(image, key=lambda place: -scores[place]):
                others = [o for o in expected if across or classes[o] == classes[place]]
                if all(_iou(boxes[place], boxes[other]) <= 0.3 for other in others):
                    expected.append(place)
            assert [place + image.start for place in kept.tolist()] == expected
            assert final.tolist() == scores[expected].tolist()


def test_rows_that_are_not_finite_are_dropped() -> None:
    boxes = torch.tensor([[0.0, 0.0, 5.0, 5.0], [0.0, float("nan"), 9.0, 9.0], [20.0, 20.0, 30.0, 30.0]])
    scores = torch.tensor([[0.9, 0.1], [0.8, 0.2], [float("inf"), 0.0]])
    results, rows = fast_rcnn_inference([boxes], [scores], [(50, 50)], 0.0, 0.5, 10)
    assert rows[0].tolist() == [0]
    assert len(results[0]) == 1


def test_unknown_suppression_is_refused() -> None:
    one = torch.ones(1)
    with pytest.raises(ConfigValueError, match="NMS_TYPE"):
        Suppression(kind="softer")(torch.ones(1, 4), one, one.long())


def test_postprocess_scales_clips_and_drops() -> None:
    boxes = torch.tensor([[-5.0, 2.0, 10.0, 60.0], [50.0, 10.0, 90.0, 20.0], [3.0, 3.0, 3.0, 9.0]])
    results = Instances((40, 50), pred_boxes=Boxes(boxes), scores=torch.tensor([0.9, 0.8, 0.7]))
    scaled = detector_postprocess(results, 80, 200)
    assert scaled.image_size == (80, 200)
    torch.testing.assert_close(scaled.pred_boxes.tensor, torch.tensor([[0.0, 4.0, 40.0, 80.0]]))
    assert scaled.scores.tolist() == pytest.approx([0.9])
    assert torch.equal(results.pred_boxes.tensor, boxes)
    with pytest.raises(ValueError, match="boxes"):
        detector_postprocess(Instances((4, 4), scores=torch.ones(1)), 8, 8)
