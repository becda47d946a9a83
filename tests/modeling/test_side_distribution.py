from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from cardamage.layers import ShapeSpec
from cardamage.modeling import FastRCNNOutputLayers
from cardamage.modeling.box_regression import Box2BoxTransform
from cardamage.modeling.losses.distribution import distribution_focal
from cardamage.modeling.side_distribution import SideDistribution, SideTransform, side_distribution_loss
from cardamage.structures import Boxes, Instances
from cardamage.utils.compiling import Compiler, compiling
from cardamage.utils.events import EventStorage
from tests.support.fake_devices import needs_fake_devices

WEIGHTS = (10.0, 8.0, 5.0, 4.0)


@pytest.fixture
def rng(fresh_seed: int) -> np.random.Generator:
    return np.random.default_rng(fresh_seed)


def _boxes(rng: np.random.Generator, count: int) -> torch.Tensor:
    low = rng.uniform(0, 90, (count, 2))
    return torch.from_numpy(np.concatenate([low, low + rng.uniform(2, 60, (count, 2))], axis=1))


def _near(rng: np.random.Generator, boxes: torch.Tensor) -> torch.Tensor:
    """Boxes whose sides are up to a third of the sizes away."""
    size = (boxes[:, 2:] - boxes[:, :2]).repeat(1, 2)
    moved = boxes + size * torch.from_numpy(rng.uniform(-1 / 3, 1 / 3, boxes.shape))
    moved[: len(boxes) // 4] = boxes[: len(boxes) // 4]
    return moved


def _moves(source: list[float], target: list[float]) -> list[float]:
    width, height = source[2] - source[0], source[3] - source[1]
    return [
        (source[0] - target[0]) / width * 10,
        (source[1] - target[1]) / height * 8,
        (target[2] - source[2]) / width * 10,
        (target[3] - source[3]) / height * 8,
    ]


def _decoded(scores: list[list[float]], source: list[float]) -> list[float]:
    """The box that the scores of four sides tell."""
    means = []
    for side in scores:
        total = sum(math.exp(s) for s in side)
        steps = [-10 + 20 * i / (len(side) - 1) for i in range(len(side))]
        means.append(sum(math.exp(s) / total * step for s, step in zip(side, steps, strict=True)))
    width, height = source[2] - source[0], source[3] - source[1]
    x, y = (source[0] + source[2]) / 2, (source[1] + source[3]) / 2
    sizes, weights = [width, height, width, height], [10, 8, 10, 8]
    left, top, right, bottom = (
        max(0.5 * size + mean / weight * size, 1e-3 * size)
        for size, mean, weight in zip(sizes, means, weights, strict=True)
    )
    return [x - left, y - top, x + right, y + bottom]


@pytest.mark.parametrize("count", [0, 1, 30, 10_000])
@pytest.mark.parametrize("bins", [2, 7])
def test_boxes_against_plain_loops(rng: np.random.Generator, bins: int, count: int) -> None:
    boxes = _boxes(rng, count)
    scores = torch.from_numpy(rng.normal(0, 4, (count, 2, 4, bins)))
    found = SideDistribution(Box2BoxTransform(WEIGHTS), bins).apply_deltas(scores.flatten(1), boxes)
    rows = zip(scores.tolist(), boxes.tolist(), strict=True)
    expected = [[*_decoded(first, box), *_decoded(second, box)] for (first, second), box in rows]
    torch.testing.assert_close(found, torch.tensor(expected, dtype=torch.float64).view(-1, 8))


@pytest.mark.parametrize("count", [0, 1, 30])
def test_moves_there_and_back(rng: np.random.Generator, count: int) -> None:
    source = _boxes(rng, count)
    target = _near(rng, source)
    transform = SideTransform(WEIGHTS)
    moves = transform.get_deltas(source, target)
    pairs = zip(source.tolist(), target.tolist(), strict=True)
    expected = torch.tensor([_moves(a, b) for a, b in pairs], dtype=torch.float64).view(-1, 4)
    torch.testing.assert_close(moves, expected)
    torch.testing.assert_close(transform.apply_deltas(moves, source), target)


def test_even_scores_leave_the_box_and_far_ones_never_turn_it_around() -> None:
    transform = SideDistribution(Box2BoxTransform((10.0, 10.0, 5.0, 5.0)), 9)
    box = torch.tensor([[10.0, 20.0, 30.0, 60.0]])
    torch.testing.assert_close(transform.apply_deltas(torch.zeros(1, 36), box), box)
    inwards, outwards = torch.zeros(1, 4, 9), torch.zeros(1, 4, 9)
    inwards[..., 0], outwards[..., -1] = 50.0, 50.0
    grown = transform.apply_deltas(outwards.flatten(1), box)
    torch.testing.assert_close(grown, torch.tensor([[-10.0, -20.0, 50.0, 100.0]]))
    shrunk = transform.apply_deltas(inwards.flatten(1), box)
    assert (shrunk[:, 2:] > shrunk[:, :2]).all()
    assert transform.apply_deltas(inwards.flatten(1).bfloat16(), box).dtype == torch.float32


def _focal_row(scores: list[float], place: float) -> float:
    total = math.log(sum(math.exp(s) for s in scores))
    low = min(int(place), len(scores) - 2)
    share = place - low
    return -(1 - share) * (scores[low] - total) - share * (scores[low + 1] - total)


@pytest.mark.parametrize("count", [0, 1, 30, 10_000])
def test_distribution_focal_against_plain_loops(rng: np.random.Generator, count: int) -> None:
    scores, places = rng.normal(0, 3, (count, 6)), rng.uniform(0, 5, count)
    if count > 4:
        places[:4], scores[0] = [0.0, 5.0, 2.0, 4.999], 0.0
    expected = [_focal_row(s, p) for s, p in zip(scores.tolist(), places.tolist(), strict=True)]
    found = distribution_focal(torch.from_numpy(scores), torch.from_numpy(places))
    torch.testing.assert_close(found, torch.tensor(expected, dtype=torch.float64))


@pytest.mark.parametrize("count", [0, 1, 12, 10_000])
def test_loss_of_sides_against_plain_loops(rng: np.random.Generator, count: int) -> None:
    transform = SideDistribution(Box2BoxTransform(WEIGHTS), 6)
    source = _boxes(rng, count)
    target = _near(rng, source)
    if count > 1:
        target[-1] = source[-1] + 500  # beyond what the bins reach
    scores = torch.from_numpy(rng.normal(0, 2, (count, 4, 6)))
    foreground = torch.from_numpy(rng.random(count) < 0.6)
    expected = 0.0
    rows = zip(source.tolist(), target.tolist(), scores.tolist(), foreground.tolist(), strict=True)
    for box, truth, sides, used in rows:
        for move, side in zip(_moves(box, truth), sides, strict=True):
            place = min(max((move + 10) / 20, 0.0), 1.0) * 5
            expected += _focal_row(side, place) / 4 if used else 0.0
    scores.requires_grad_()
    found = side_distribution_loss(transform, source, scores, target, foreground)
    assert found.item() == pytest.approx(expected, rel=1e-9, abs=1e-12)
    (gradient,) = torch.autograd.grad(found, scores)
    for rubbish in (0.0, math.nan, math.inf):
        dirty = [t.detach().clone() for t in (source, scores, target)]
        for tensor in dirty:
            tensor[~foreground] = rubbish
        dirty[1].requires_grad_()
        again = side_distribution_loss(transform, dirty[0], dirty[1], dirty[2], foreground)
        torch.testing.assert_close(again, found)
        torch.testing.assert_close(torch.autograd.grad(again, dirty[1])[0], gradient)


def test_gradients(rng: np.random.Generator) -> None:
    transform = SideDistribution(Box2BoxTransform(WEIGHTS), 5)
    source = _boxes(rng, 3)
    target, used = _near(rng, source), torch.tensor([True, False, True])
    scores = torch.from_numpy(rng.normal(0, 1, (3, 4, 5))).requires_grad_()
    assert torch.autograd.gradcheck(
        lambda x: side_distribution_loss(transform, source, x, target, used), scores
    )
    assert torch.autograd.gradcheck(lambda x: transform.apply_deltas(x.flatten(1), source), scores)


def _predictor(agnostic: bool, **options: Any) -> FastRCNNOutputLayers:
    return FastRCNNOutputLayers(
        ShapeSpec(channels=4),
        box2box_transform=Box2BoxTransform(WEIGHTS),
        num_classes=3,
        cls_agnostic_bbox_reg=agnostic,
        box_reg_bins=6,
        **options,
    )


def _proposals(rng: np.random.Generator, count: int) -> Instances:
    boxes = _boxes(rng, count).float()
    proposals = Instances((200, 200), proposal_boxes=Boxes(boxes))
    proposals.gt_boxes = Boxes(_near(rng, boxes.double()).float())
    proposals.gt_classes = torch.from_numpy(rng.integers(0, 4, count))
    return proposals


@pytest.mark.parametrize("agnostic", [False, True])
def test_the_predictor_learns_and_decodes_the_own_class(rng: np.random.Generator, agnostic: bool) -> None:
    predictor = _predictor(agnostic, box_reg_loss_type="l1", loss_weight={"loss_box_dfl": 0.5})
    proposals = _proposals(rng, 9)
    scores, told = predictor(torch.from_numpy(rng.normal(0, 900, (9, 4))).float())
    assert told.shape == (9, 24 if agnostic else 72)
    with EventStorage(0):
        losses = predictor.losses((scores, told), [proposals])
    assert set(losses) == {"loss_cls", "loss_box_reg", "loss_box_dfl"}
    distance = focal = 0.0
    sources, targets = proposals.proposal_boxes.tensor.tolist(), proposals.gt_boxes.tensor.tolist()
    decoded = predictor.predict_boxes((scores, told), [proposals])[0].unflatten(1, (-1, 4)).tolist()
    for row, cls in enumerate(proposals.gt_classes.tolist()):
        own = told.view(9, -1, 4, 6)[row, 0 if agnostic or cls == 3 else cls].tolist()
        box = decoded[row][0 if agnostic or cls == 3 else cls]
        assert box == pytest.approx(_decoded(own, sources[row]), abs=1e-3)
        if cls == 3:
            continue
        for move, side in zip(_moves(sources[row], targets[row]), own, strict=True):
            total = sum(math.exp(s) for s in side)
            mean = sum(math.exp(s) / total * (-10 + 4 * i) for i, s in enumerate(side))
            distance += abs(mean - move)
            focal += _focal_row(side, min(max((move + 10) / 20, 0), 1) * 5) / 4
    assert losses["loss_box_reg"].item() == pytest.approx(distance / 9, rel=1e-4)
    assert losses["loss_box_dfl"].item() == pytest.approx(0.5 * focal / 9, rel=1e-4)
    for_truth = predictor.predict_boxes_for_gt_classes((scores, told), [proposals])[0]
    assert for_truth.shape == (9, 4)


@needs_fake_devices
def test_nothing_waits_for_the_device(waits: Any) -> None:
    transform = SideDistribution(Box2BoxTransform(WEIGHTS), 6)
    with FakeTensorMode(), waits:
        boxes, scores = torch.empty(8, 4, device="cuda"), torch.empty(8, 4, 6, device="cuda")
        loss = side_distribution_loss(transform, boxes, scores, boxes, boxes[:, 0] > 0)
        decoded = transform.apply_deltas(scores.flatten(1), boxes)
    assert waits.found == []
    assert loss.device.type == decoded.device.type == "cuda"


def test_compiled_it_is_the_same(rng: np.random.Generator) -> None:
    pytest.importorskip("torch._dynamo")
    torch._dynamo.reset()
    graphs: list[Any] = []

    def backend(graph: torch.fx.GraphModule, inputs: Any) -> Callable[..., Any]:
        graphs.append(graph)
        return graph.forward

    compiler, transform = Compiler(backend), SideDistribution(Box2BoxTransform(WEIGHTS), 6)
    for count in (5, 9, 12):
        source = _boxes(rng, count)
        given = (
            source,
            torch.from_numpy(rng.normal(0, 2, (count, 4, 6))),
            _near(rng, source),
            source[:, 0] > 40,
        )
        expected = side_distribution_loss(transform, *given)
        with compiling(compiler):
            torch.testing.assert_close(side_distribution_loss(transform, *given), expected)
    assert len(graphs) == 1
    assert not compiler.broken
    torch._dynamo.reset()
