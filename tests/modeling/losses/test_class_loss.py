from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch._subclasses.fake_tensor import FakeTensorMode
from torchvision.ops import sigmoid_focal_loss

from cardamage.layers import ShapeSpec
from cardamage.modeling import FastRCNNOutputLayers, build_model
from cardamage.modeling.box_regression import Box2BoxTransform
from cardamage.modeling.losses.class_loss import ClassLoss, SigmoidCrossEntropy, SoftmaxCrossEntropy
from cardamage.modeling.losses.class_weights import ClassWeights
from cardamage.modeling.losses.focal import QualityFocal, SigmoidFocal, SoftmaxFocal, sigmoid_focal
from cardamage.utils.compiling import Compiler, compiling
from tests.support.fake_devices import needs_fake_devices

Make = Callable[..., Any]
K = 3
WEIGHTS = ClassWeights("inverse", torch.tensor([0.5, 2.0, 1.25]))
LOSSES: dict[str, Callable[[], ClassLoss]] = {
    "softmax": lambda: SoftmaxCrossEntropy(K, WEIGHTS, 0.1),
    "sigmoid": lambda: SigmoidCrossEntropy(K, WEIGHTS, 0.1),
    "softmax_focal": lambda: SoftmaxFocal(K, WEIGHTS, 1.5, 0.3),
    "softmax_focal_plain": lambda: SoftmaxFocal(K, None, 0.5, -1),
    "sigmoid_focal": lambda: SigmoidFocal(K, WEIGHTS, 1.5, 0.3),
    "sigmoid_focal_plain": lambda: SigmoidFocal(K, None, 2.0, -1),
    "quality_focal": lambda: QualityFocal(K, WEIGHTS, 2.0),
}


def _inputs(rng: np.random.Generator, count: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    scores = torch.from_numpy(rng.normal(0, 3, (count, K + 1)))
    if count > 2:
        scores[0] = 0.0  # ties
        scores[1] = scores[2]
    classes = torch.from_numpy(rng.integers(-1, K + 1, count))
    return scores, classes, torch.from_numpy(rng.uniform(0, 1, count))


def _binary(p: float, truth: float) -> float:
    return -truth * math.log(p) - (1 - truth) * math.log(1 - p)


def _row(kind: str, scores: list[float], cls: int, quality: float) -> float:
    """One region's loss, by the formulas of the papers."""
    total = sum(math.exp(s) for s in scores)
    softmax = [math.exp(s) / total for s in scores]
    sigmoid = [1 / (1 + math.exp(-s)) for s in scores[:-1]]
    truth = [float(c == cls) for c in range(K)]
    if kind == "softmax":
        smooth = [0.9 * (c == cls) + 0.1 / (K + 1) for c in range(K + 1)]
        return -sum(t * math.log(p) for t, p in zip(smooth, softmax, strict=True))
    if kind == "sigmoid":
        return sum(_binary(p, 0.9 * t + 0.1 / (K + 1)) for p, t in zip(sigmoid, truth, strict=True))
    if kind.startswith("softmax_focal"):
        gamma, alpha = (0.5, -1.0) if kind.endswith("plain") else (1.5, 0.3)
        weight = 1.0 if alpha < 0 else (1 - alpha if cls == K else alpha)
        return -weight * (1 - softmax[cls]) ** gamma * math.log(softmax[cls])
    if kind == "quality_focal":
        pairs = zip(sigmoid, truth, strict=True)
        return sum(abs(t * quality - p) ** 2 * _binary(p, t * quality) for p, t in pairs)
    gamma, alpha = (2.0, -1.0) if kind.endswith("plain") else (1.5, 0.3)
    loss = 0.0
    for p, t in zip(sigmoid, truth, strict=True):
        right = p if t else 1 - p
        weight = 1.0 if alpha < 0 else (alpha if t else 1 - alpha)
        loss += weight * (1 - right) ** gamma * -math.log(right)
    return loss


@pytest.mark.parametrize("count", [0, 1, 50, 10_000])
@pytest.mark.parametrize("kind", list(LOSSES))
def test_losses_against_plain_loops(rng: np.random.Generator, kind: str, count: int) -> None:
    scores, classes, quality = _inputs(rng, count)
    loss = LOSSES[kind]()
    found = loss(scores, classes, quality)
    factors = [0.5, 2.0, 1.25, 1.0] if loss.class_weights is not None else [1.0] * 4
    rows = zip(scores.tolist(), classes.tolist(), quality.tolist(), strict=True)
    summed = sum(factors[c] * _row(kind, s, c, q) for s, c, q in rows if c >= 0)
    counted = classes >= 0
    if "focal" in kind:
        counted &= classes < K
    assert found.dtype == torch.float64
    assert found.item() == pytest.approx(summed / max(int(counted.sum()), 1), rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("kind", list(LOSSES))
def test_gradients(rng: np.random.Generator, kind: str) -> None:
    scores, classes, quality = _inputs(rng, 7)
    loss = LOSSES[kind]().double()
    assert torch.autograd.gradcheck(lambda s: loss(s, classes, quality), scores.requires_grad_())


@pytest.mark.parametrize("kind", list(LOSSES))
@pytest.mark.parametrize("size", [30.0, 300.0])
def test_extreme_scores_have_finite_gradients(kind: str, size: float) -> None:
    scores = torch.tensor([[size, 0, 0, 0], [-size, 0, 0, size], [0, size, -size, 0], [0, 0, 0, size]])
    scores.requires_grad_()
    for gamma in (0.0, 0.3, 1.0, 2.0):
        loss = LOSSES[kind]()
        loss.gamma = gamma  # type: ignore[assignment]
        value = loss(scores, torch.tensor([0, 1, 1, 3]), torch.tensor([1.0, 0.0, 0.5, 0.0]))
        (gradient,) = torch.autograd.grad(value, scores)
        assert value.isfinite()
        assert gradient.isfinite().all()


def test_against_the_libraries(rng: np.random.Generator) -> None:
    scores, classes, _ = _inputs(rng, 60)
    truth = F.one_hot(classes.clamp(min=0), K + 1)[:, :-1].double()
    for gamma, alpha in ((2.0, 0.25), (0.0, 0.7), (1.0, -1.0)):
        expected = sigmoid_focal_loss(scores[:, :-1], truth, alpha, gamma)
        torch.testing.assert_close(sigmoid_focal(scores[:, :-1], truth, gamma, alpha), expected)
    expected = F.cross_entropy(scores, classes, ignore_index=-1, label_smoothing=0.2)
    torch.testing.assert_close(SoftmaxCrossEntropy(K, None, 0.2)(scores, classes), expected)


@pytest.mark.parametrize("kind", list(LOSSES))
def test_probabilities_are_those_of_the_loss(rng: np.random.Generator, kind: str) -> None:
    scores = _inputs(rng, 20)[0]
    probs = LOSSES[kind]().probabilities(scores)
    expected = scores.softmax(1) if kind.startswith("softmax") else scores.sigmoid()
    torch.testing.assert_close(probs[:, :-1], expected[:, :-1])
    assert probs.shape == scores.shape
    # The best column is background where no class is likelier than not.
    if not kind.startswith("softmax"):
        assert ((probs.argmax(1) == K) == (probs[:, :-1].amax(1) < 0.5)).all()


@pytest.mark.parametrize("kind", ["softmax_focal", "sigmoid_focal", "quality_focal"])
def test_training_starts_with_the_prior_probability(kind: str) -> None:
    predictor = FastRCNNOutputLayers(
        ShapeSpec(channels=4),
        box2box_transform=Box2BoxTransform((10.0, 10.0, 5.0, 5.0)),
        num_classes=K,
        class_loss=LOSSES[kind](),
    )
    scores, _ = predictor(torch.zeros(1, 4))
    probs = predictor.predict_scores(scores)[0, :-1]
    found = probs.sum() if kind.startswith("softmax") else probs[0]
    assert found.item() == pytest.approx(0.01, rel=1e-4)


@pytest.mark.parametrize("kind", list(LOSSES))
def test_compiled_they_are_the_same(rng: np.random.Generator, kind: str) -> None:
    graphs = []

    def backend(graph: torch.fx.GraphModule, inputs: Any) -> Callable[..., Any]:
        graphs.append(graph)
        return graph.forward

    pytest.importorskip("torch._dynamo")
    torch._dynamo.reset()
    loss, compiler = LOSSES[kind](), Compiler(backend)
    for count in (9, 14, 30):
        scores, classes, quality = _inputs(rng, count)
        expected = loss(scores, classes, quality)
        with compiling(compiler):
            torch.testing.assert_close(loss(scores, classes, quality), expected)
    assert len(graphs) == 1
    assert not compiler.broken
    torch._dynamo.reset()


@needs_fake_devices
@pytest.mark.parametrize("kind", list(LOSSES))
def test_nothing_waits_for_the_device(waits: Any, kind: str) -> None:
    loss = LOSSES[kind]()
    with FakeTensorMode():
        if loss.class_weights is not None:
            loss.class_weights = torch.empty(K + 1, device="cuda")
        scores, classes = torch.empty(8, K + 1, device="cuda"), torch.empty(8, device="cuda").long()
        with waits:
            value = loss(scores, classes, scores[:, 0])
            probs = loss.probabilities(scores)
    assert waits.found == []
    assert value.device.type == probs.device.type == "cuda"


def test_the_default_has_no_loss_of_its_own(tiny_cfg: Make) -> None:
    predictor = build_model(tiny_cfg()).roi_heads.box_predictor
    assert predictor.class_loss is None
    assert not any("class_loss" in name for name in predictor.state_dict())
