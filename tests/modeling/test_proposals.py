"""The RPN's steps, each against numbers worked out on their own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from cardamage.errors import DataError
from cardamage.modeling import build_model
from cardamage.modeling.anchor_generator import DefaultAnchorGenerator
from cardamage.modeling.batch import force_fixed_shapes
from cardamage.modeling.box_regression import Box2BoxTransform
from cardamage.modeling.matcher import Matcher
from cardamage.modeling.proposal_generator import RPN, StandardRPNHead
from cardamage.modeling.proposal_generator.proposal_utils import (
    add_ground_truth_to_proposals,
    find_top_rpn_proposals,
)
from cardamage.structures import Boxes, Instances
from cardamage.utils.events import EventStorage

Make = Callable[..., Any]
FIXED = pytest.mark.parametrize("fixed", [False, True], ids=["compact", "fixed"])
SIZES = [(40, 60), (50, 30)]


def _iou(a: np.ndarray, b: np.ndarray) -> float:
    w, h = np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2])
    inter = max(w, 0) * max(h, 0)
    area = [(x[2] - x[0]) * (x[3] - x[1]) for x in (a, b)]
    return inter / (sum(area) - inter) if inter else 0.0


def _chosen(
    levels: list[tuple[np.ndarray, np.ndarray]],
    size: tuple[int, int],
    before: int,
    after: int,
    smallest: float,
) -> list[tuple[float, np.ndarray]]:
    """One image's proposals, greedily."""
    kept: list[tuple[float, int, np.ndarray]] = []
    for level, (boxes, logits) in enumerate(levels):
        best = np.argsort(-logits, kind="stable")[:before]
        clipped = np.clip(boxes[best], 0, [size[1], size[0]] * 2)
        here: list[np.ndarray] = []
        for box, logit in zip(clipped, logits[best], strict=True):
            if (box[2:] - box[:2] <= smallest).any() or any(_iou(box, other) > 0.6 for other in here):
                continue
            here.append(box)
            kept.append((logit, level, box))
    kept.sort(key=lambda entry: -entry[0])
    return [(logit, box) for logit, _, box in kept[:after]]


@FIXED
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(("before", "after"), [(1000, 1000), (12, 1000), (12, 7), (1, 1)])
@pytest.mark.parametrize("smallest", [0.0, 9.0])
def test_choice_against_a_greedy_one(
    fixed: bool, seed: int, before: int, after: int, smallest: float
) -> None:
    rng = np.random.default_rng(seed)
    boxes, logits = [], []
    for count in (40, 15, 3):
        corner = rng.uniform(-15, 45, (2, count, 2))
        boxes.append(np.concatenate([corner, corner + rng.uniform(1, 30, corner.shape)], axis=2))
        logits.append(rng.permutation(2 * count).reshape(2, count) + rng.uniform(0, 0.9))
    arguments = [[torch.from_numpy(x).float() for x in part] for part in (boxes, logits)]
    with force_fixed_shapes(fixed):
        found = find_top_rpn_proposals(*arguments, SIZES, 0.6, before, after, smallest, True)
    for image, result in enumerate(found):
        levels = [(b[image], x[image]) for b, x in zip(boxes, logits, strict=True)]
        expected = _chosen(levels, SIZES[image], before, after, smallest)
        assert result.image_size == SIZES[image]
        np.testing.assert_allclose(result.objectness_logits, [x for x, _ in expected], rtol=1e-6)
        np.testing.assert_allclose(
            result.proposal_boxes.tensor, np.reshape([b for _, b in expected], (-1, 4)), rtol=1e-5, atol=1e-4
        )


@pytest.mark.parametrize("value", [float("inf"), float("nan"), -float("inf")])
@pytest.mark.parametrize("where", ["box", "logit"])
def test_values_that_are_not_finite(value: float, where: str) -> None:
    boxes = torch.tensor([[[0.0, 0, 9, 9], [20, 20, 30, 30], [0, 30, 9, 39]]])
    logits = torch.tensor([[1.0, 3.0, 2.0]])
    if where == "box":
        boxes[0, 1, 2] = value
    else:
        logits[0, 1] = value
    arguments = ([boxes], [logits], [(40, 60)], 0.7, 10, 10, 0.0)
    assert find_top_rpn_proposals(*arguments, False)[0].objectness_logits.tolist() == [2.0, 1.0]
    with pytest.raises(FloatingPointError, match="not finite"):
        find_top_rpn_proposals(*arguments, True)


@FIXED
@pytest.mark.parametrize("part", ["objectness_logits", "anchor_deltas"])
def test_training_that_diverged_shows_in_a_loss(
    tiny_cfg: Make, sample: Make, storage: EventStorage, fixed: bool, part: str
) -> None:
    # So few anchors are learned that a single bad candidate would go unseen.
    torch.manual_seed(0)
    model = build_model(tiny_cfg(**{"MODEL.RPN.BATCH_SIZE_PER_IMAGE": 1}))
    bias = getattr(model.proposal_generator.rpn_head, part).bias
    with force_fixed_shapes(fixed):
        assert model([sample(1)])["loss_rpn_cls"].isfinite()
        with torch.no_grad():
            bias[0] = float("inf")
        losses = model([sample(1)])
        assert losses["loss_rpn_cls"].isnan()
        assert len(model.eval()([sample(1)])) == 1


def _rpn(**more: Any) -> RPN:
    options: dict[str, Any] = {
        "in_features": ["a", "b"],
        "head": StandardRPNHead(in_channels=4, num_anchors=2),
        "anchor_generator": DefaultAnchorGenerator(
            sizes=[[12.0], [24.0]], aspect_ratios=[0.5, 1.5], strides=[8, 16]
        ),
        "anchor_matcher": Matcher([0.3, 0.6], [0, -1, 1], allow_low_quality_matches=True),
        "box2box_transform": Box2BoxTransform((1.0, 2.0, 3.0, 4.0)),
        "batch_size_per_image": 1000,
        "positive_fraction": 0.5,
        "pre_nms_topk": (50, 50),
        "post_nms_topk": (20, 20),
    }
    return RPN(**{**options, **more})


def _truth() -> list[Instances]:
    boxes = [[[4.0, 5, 20, 17], [12, 16, 28, 24], [8, 16, 40, 32], [8, 16, 39, 32]], []]
    return [
        Instances(size, gt_boxes=Boxes(torch.tensor(b).reshape(-1, 4)))
        for size, b in zip(SIZES, boxes, strict=True)
    ]


def _labels(anchors: np.ndarray, boxes: np.ndarray, size: tuple[int, int], border: float) -> np.ndarray:
    """Faster R-CNN's rule, anchor by anchor."""
    overlaps = np.array([[_iou(box, anchor) for anchor in anchors] for box in boxes]).reshape(
        len(boxes), len(anchors)
    )
    labels = []
    for i, anchor in enumerate(anchors):
        best = overlaps[:, i].max(initial=-1)
        label = 1 if best >= 0.6 else 0 if best < 0.3 else -1
        if any(row[i] == row.max() for row in overlaps):
            label = 1
        inside = (anchor[:2] >= -border).all() and (anchor[2:] < np.array([size[1], size[0]]) + border).all()
        labels.append(label if border < 0 or inside else -1)
    return np.array(labels)


def _features() -> list[torch.Tensor]:
    return [torch.randn(2, 4, 7, 8), torch.randn(2, 4, 4, 4)]


@pytest.mark.parametrize("border", [-1.0, 0.0, 3.0])
def test_labels_against_the_papers_rule(border: float) -> None:
    rpn = _rpn(anchor_boundary_thresh=border, batch_size_per_image=100000, positive_fraction=1.0)
    anchors = rpn.anchor_generator(_features())
    labels, boxes = rpn.label_and_sample_anchors(anchors, _truth())
    everywhere = np.concatenate([a.tensor.numpy() for a in anchors])
    for truth, label, box in zip(_truth(), labels, boxes, strict=True):
        given = truth.gt_boxes.tensor.numpy()
        expected = _labels(everywhere, given, truth.image_size, border)
        assert label.tolist() == expected.tolist()
        for i in np.flatnonzero(expected == 1):
            nearest = int(np.argmax([_iou(g, everywhere[i]) for g in given]))
            assert box[i].tolist() == given[nearest].tolist()
    assert sum((x == 1).sum() for x in labels) > 2


def test_few_labels_are_sampled_and_the_rest_ignored() -> None:
    rpn = _rpn(batch_size_per_image=6)
    anchors = rpn.anchor_generator(_features())
    everything, _ = _rpn(positive_fraction=1.0).label_and_sample_anchors(anchors, _truth())
    sampled, _ = rpn.label_and_sample_anchors(anchors, _truth())
    for all_labels, few in zip(everything, sampled, strict=True):
        positive = min(3, int((all_labels == 1).sum()))
        assert [(few == 1).sum(), (few == 0).sum()] == [positive, 6 - positive]
        assert (few[few >= 0] == all_labels[few >= 0]).all()


def test_losses_against_float64(storage: EventStorage) -> None:
    torch.manual_seed(1)
    rpn = _rpn(loss_weight={"loss_rpn_loc": 2.0})
    maps = _features()
    anchors = rpn.anchor_generator(maps)
    counts = [len(a) for a in anchors]
    logits = [torch.randn(2, n) for n in counts]
    deltas = [torch.randn(2, n, 4) for n in counts]
    labels, boxes = rpn.label_and_sample_anchors(anchors, _truth())
    losses = rpn.losses(anchors, logits, labels, deltas, boxes)
    everywhere = torch.cat([a.tensor for a in anchors]).double().numpy()
    cls = loc = 0.0
    for image in range(2):
        scores, offsets = (torch.cat([x[image] for x in part]).double().numpy() for part in (logits, deltas))
        for i, label in enumerate(labels[image].tolist()):
            if label >= 0:
                cls += np.log1p(np.exp(-scores[i] if label else scores[i]))
            if label == 1:
                a, g = everywhere[i], boxes[image][i].double().numpy()
                size, center = a[2:] - a[:2], (a[2:] + a[:2]) / 2
                shift = ((g[2:] + g[:2]) / 2 - center) / size
                target = np.concatenate([shift, np.log((g[2:] - g[:2]) / size)]) * [1, 2, 3, 4]
                loc += np.abs(target - offsets[i]).sum()
    assert losses["loss_rpn_cls"].item() == pytest.approx(cls / 2000, rel=1e-5)
    assert losses["loss_rpn_loc"].item() == pytest.approx(2 * loc / 2000, rel=1e-5)
    assert loc > 0
    logged = {name: value for name, (value, _) in storage.latest().items()}
    assert logged["rpn/num_pos_anchors"] == sum((x == 1).sum().item() for x in labels) / 2
    assert logged["rpn/num_neg_anchors"] == sum((x == 0).sum().item() for x in labels) / 2


@FIXED
def test_decoded_proposals(fixed: bool) -> None:
    rpn = _rpn(nms_thresh=0.6).eval()
    rng = np.random.default_rng(2)
    anchors = rpn.anchor_generator(_features())
    logits = [rng.permutation(2 * len(a)).reshape(2, -1) / 7 for a in anchors]
    deltas = [rng.normal(0, 0.5, (2, len(a), 4)) for a in anchors]
    with force_fixed_shapes(fixed):
        found = rpn.predict_proposals(
            anchors,
            [torch.from_numpy(x).float() for x in logits],
            [torch.from_numpy(x).float() for x in deltas],
            SIZES,
        )
    for image in range(2):
        levels = []
        for anchor, logit, delta in zip(anchors, logits, deltas, strict=True):
            a, d = anchor.tensor.double().numpy(), delta[image] / [1, 2, 3, 4]
            size = a[:, 2:] - a[:, :2]
            center, half = (a[:, 2:] + a[:, :2]) / 2 + d[:, :2] * size, size * np.exp(d[:, 2:]) / 2
            levels.append((np.concatenate([center - half, center + half], axis=1), logit[image]))
        expected = _chosen(levels, SIZES[image], 50, 20, 0.0)
        np.testing.assert_allclose(found[image].objectness_logits, [x for x, _ in expected], rtol=1e-5)
        np.testing.assert_allclose(
            found[image].proposal_boxes.tensor, [b for _, b in expected], rtol=1e-4, atol=1e-3
        )


def test_ground_truth_comes_last_with_fields_of_both() -> None:
    proposals = Instances(
        (9, 9),
        proposal_boxes=Boxes(torch.tensor([[0.0, 0, 3, 3]])),
        objectness_logits=torch.tensor([0.5]),
        hint=torch.tensor([7]),
    )
    truth = Instances((9, 9), gt_boxes=Boxes(torch.tensor([[1.0, 1, 5, 5], [2, 2, 4, 4]])))
    with pytest.raises(DataError, match="'hint'"):
        add_ground_truth_to_proposals([truth], [proposals])
    with pytest.raises(DataError, match="2 images"):
        add_ground_truth_to_proposals([truth], [proposals] * 2)
    truth.hint, truth.other = torch.tensor([8, 9]), torch.tensor([0, 0])
    (joined,) = add_ground_truth_to_proposals([truth], [proposals])
    assert set(joined.get_fields()) == {"proposal_boxes", "objectness_logits", "hint"}
    assert joined.hint.tolist() == [7, 8, 9]
    assert joined.proposal_boxes.tensor[1:].tolist() == truth.gt_boxes.tensor.tolist()
    # The logit of the probability 1 - 1e-10.
    assert joined.objectness_logits.tolist() == pytest.approx([0.5, 23.02585, 23.02585], rel=1e-5)
    plain = Instances((9, 9), proposal_boxes=Boxes(torch.zeros(0, 4)), objectness_logits=torch.zeros(0))
    (boxes_only,) = add_ground_truth_to_proposals([truth.gt_boxes], [plain])
    assert len(boxes_only) == 2
    assert add_ground_truth_to_proposals([], []) == []
