from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from cardamage.catalog import MetadataCatalog
from cardamage.errors import ConfigValueError
from cardamage.layers import ShapeSpec
from cardamage.modeling import FastRCNNOutputLayers, build_model
from cardamage.modeling.box_regression import Box2BoxTransform
from cardamage.modeling.losses import federated_classes, sigmoid_loss, softmax_loss
from cardamage.modeling.roi_heads.fast_rcnn import _log_classification_stats
from cardamage.structures import Boxes, Instances
from cardamage.utils.events import EventStorage

Make = Callable[..., Any]


def _predictor(classes: int = 3, **kwargs: Any) -> FastRCNNOutputLayers:
    transform = Box2BoxTransform((10.0, 10.0, 5.0, 5.0))
    return FastRCNNOutputLayers(
        ShapeSpec(channels=4), box2box_transform=transform, num_classes=classes, **kwargs
    )


def _binary(scores: np.ndarray, truth: np.ndarray) -> np.ndarray:
    probs = 1 / (1 + np.exp(-scores))
    return -np.where(truth, np.log(probs), np.log(1 - probs))


@pytest.mark.parametrize("count", [0, 1, 9])
def test_losses_against_float64(count: int) -> None:
    rng = np.random.default_rng(count)
    scores, classes = rng.normal(0, 3, (count, 4)), rng.integers(0, 4, count)
    given = torch.from_numpy(scores).float(), torch.from_numpy(classes)
    chances = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    each = -np.log(chances[np.arange(count), classes])
    assert softmax_loss(*given).item() == pytest.approx(each.sum() / max(count, 1), rel=1e-5)
    each = _binary(scores[:, :3], classes[:, None] == np.arange(3))
    assert sigmoid_loss(*given).item() == pytest.approx(each.sum() / max(count, 1), rel=1e-5)
    learned = torch.tensor([2, 3])
    assert sigmoid_loss(*given, learned).item() == pytest.approx(each[:, 2].sum() / max(count, 1), rel=1e-5)


def test_rows_without_a_region_add_nothing() -> None:
    scores, classes = torch.randn(5, 4), torch.tensor([0, -1, 3, 2, -1])
    used = classes >= 0
    for loss in (softmax_loss, sigmoid_loss):
        torch.testing.assert_close(loss(scores, classes), loss(scores[used], classes[used]))


def test_box_loss_is_the_mean_over_all_regions() -> None:
    predictor = _predictor(2)
    boxes = torch.tensor([[0.0, 0, 10, 10], [0, 0, 20, 20], [0, 0, 5, 5], [1, 1, 2, 2]])
    deltas = torch.arange(32.0).view(4, 8) / 10
    classes = torch.tensor([1, 2, 0, -1])
    # The truth is where the boxes are, so the targets are 0: the L1 norm of the class's own four offsets.
    expected = (deltas[0, 4:].sum() + deltas[2, :4].sum()) / 3
    torch.testing.assert_close(predictor.box_reg_loss(boxes, boxes, deltas, classes), expected)
    agnostic = (deltas[0, :4].sum() + deltas[2, :4].sum()) / 3
    torch.testing.assert_close(predictor.box_reg_loss(boxes, boxes, deltas[:, :4], classes), agnostic)


def test_federated_loss_learns_the_chosen_classes(storage: EventStorage) -> None:
    weights = torch.tensor([0.0, 0.0, 5.0, 0.0, 0.0, 1.0])
    predictor = _predictor(
        6,
        use_fed_loss=True,
        use_sigmoid_ce=True,
        get_fed_loss_cls_weights=lambda: weights,
        fed_loss_num_classes=4,
    )
    assert torch.equal(predictor.state_dict()["fed_loss_cls_weights"], weights)
    rng = np.random.default_rng(0)
    scores, classes = rng.normal(0, 2, (5, 7)), np.array([1, 6, 1, 6, 6])
    proposals = Instances((9, 9), proposal_boxes=Boxes(torch.tensor([[0.0, 0, 4, 4]]).repeat(5, 1)))
    proposals.gt_boxes, proposals.gt_classes = proposals.proposal_boxes, torch.from_numpy(classes)
    losses = predictor.losses((torch.from_numpy(scores).float(), torch.zeros(5, 24)), [proposals])
    # Class 1 and background occur; with these weights the two others can only be 2 and 5.
    each = _binary(scores[:, :6], classes[:, None] == np.arange(6))[:, [1, 2, 5]]
    assert losses["loss_cls"].item() == pytest.approx(each.sum() / 5, rel=1e-5)


def test_classes_are_drawn_by_weight() -> None:
    torch.manual_seed(0)
    occurring = torch.tensor([3, 0, 3])
    assert federated_classes(occurring, 2, 5, torch.ones(5)).tolist() == [0, 3]
    drawn = [federated_classes(occurring, 3, 5, torch.tensor([9.0, 1, 3, 9, 4])) for _ in range(4000)]
    assert all(x[:2].tolist() == [0, 3] for x in drawn)
    shares = torch.bincount(torch.stack(drawn)[:, 2], minlength=6) / len(drawn)
    # Four standard deviations are under 0.032.
    torch.testing.assert_close(shares, torch.tensor([0, 1, 3, 0, 4, 0]) / 8, atol=0.032, rtol=0)


@pytest.mark.parametrize(
    ("weights", "sigmoid", "match"), [(None, True, "weights"), (3, False, "SIGMOID"), (2, True, "2 classes")]
)
def test_federated_loss_needs_the_sigmoid_and_weights(weights: Any, sigmoid: bool, match: str) -> None:
    get = None if weights is None else (lambda: torch.ones(weights))
    with pytest.raises(ConfigValueError, match=match):
        _predictor(use_fed_loss=True, use_sigmoid_ce=sigmoid, get_fed_loss_cls_weights=get)


def test_weights_come_from_the_data(tiny_cfg: Make, sample: Make, storage: EventStorage) -> None:
    counts = [{"id": 3, "image_count": 4}, {"id": 1, "image_count": 9}, {"id": 2, "image_count": 1}]
    MetadataCatalog.get("_counted").set(class_image_count=counts)
    options = {"MODEL.ROI_BOX_HEAD.USE_FED_LOSS": True, "MODEL.ROI_BOX_HEAD.USE_SIGMOID_CE": True}
    cfg = tiny_cfg(
        **options, **{"DATASETS.TRAIN": ("_counted",), "MODEL.ROI_BOX_HEAD.FED_LOSS_NUM_CLASSES": 2}
    )
    model = build_model(cfg)
    assert model.roi_heads.box_predictor.fed_loss_cls_weights.tolist() == [3.0, 1.0, 2.0]
    assert model([sample(1, 2), sample(2, 0)])["loss_cls"].isfinite()


def test_logged_shares(storage: EventStorage) -> None:
    predicted = torch.tensor([0, 1, 3, 3, 2, 0])
    truth = torch.tensor([0, 2, 1, 3, 2, -1])
    scores = torch.nn.functional.one_hot(predicted, 4).float()
    _log_classification_stats(scores, truth)
    found = {name: value for name, (value, _) in storage.latest().items()}
    assert found == pytest.approx(
        {
            "fast_rcnn/cls_accuracy": 3 / 5,
            "fast_rcnn/fg_cls_accuracy": 2 / 4,
            "fast_rcnn/false_negative": 1 / 4,
        }
    )
