from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from cardamage.modeling.losses.class_loss import ClassLoss
from cardamage.modeling.losses.long_tail import Equalization, Seesaw, seesaw
from cardamage.utils.compiling import Compiler, compiling
from tests.support.fake_devices import needs_fake_devices

K = 4
LOSSES: dict[str, Callable[[], ClassLoss]] = {
    "seesaw": lambda: Seesaw(K, 0.7, 1.5),
    "equalization": lambda: Equalization(K, 10.0, 0.6, 3.0),
}


def _inputs(rng: np.random.Generator, count: int) -> tuple[torch.Tensor, torch.Tensor]:
    scores = torch.from_numpy(rng.normal(0, 3, (count, K + 1)))
    if count > 2:
        scores[0] = 0.0  # ties
        scores[1] = scores[2]
    # Class 3 never occurs, class 2 rarely.
    odds = [0.1, 0.3, 0.15, 0.05, 0.0, 0.4]
    return scores, torch.from_numpy(rng.choice(np.arange(-1, K + 1), count, p=odds))


def _sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def _seesaw_row(scores: list[float], cls: int, seen: list[int], p: float, q: float) -> list[float]:
    """The altered probabilities of the classes, by the paper's formulas."""
    total = sum(math.exp(s) for s in scores)
    probs = [math.exp(s) / total for s in scores]
    parts = []
    for j, score in enumerate(scores):
        own, other = max(seen[cls], 1), max(seen[j], 1)
        mitigation = 1.0 if own <= other else (other / own) ** p
        ratio = probs[j] / max(probs[cls], 0.01)
        compensation = ratio**q if ratio > 1 else 1.0
        parts.append(math.exp(score) * (1.0 if j == cls else mitigation * compensation))
    return [part / sum(parts) for part in parts]


@pytest.mark.parametrize("count", [0, 1, 40, 10_000])
def test_seesaw_against_plain_loops(rng: np.random.Generator, count: int) -> None:
    loss = Seesaw(K, 0.7, 1.5)
    seen = [0] * K
    for _ in range(2):
        scores, classes = _inputs(rng, count)
        found = loss(scores, classes)
        for c in classes.tolist():
            if 0 <= c < K:
                seen[c] += 1
        total = 0.0
        for row, c in zip(scores.tolist(), classes.tolist(), strict=True):
            if c == K:
                total -= math.log(_sigmoid(row[-1]))
            elif c >= 0:
                total -= math.log(_sigmoid(-row[-1]))
                total -= math.log(_seesaw_row(row[:-1], c, seen, 0.7, 1.5)[c])
        assert loss.account.tolist() == seen
        assert found.item() == pytest.approx(total / max(int((classes >= 0).sum()), 1), rel=1e-9)


def test_seesaw_gradients_are_the_papers(rng: np.random.Generator) -> None:
    # The factors have no gradient, so the rows' are those of a cross entropy with altered probabilities.
    scores, classes = torch.from_numpy(rng.normal(0, 2, (9, K))), torch.from_numpy(rng.integers(0, K, 9))
    seen = torch.tensor([100, 7, 1, 0])
    leaf = scores.clone().requires_grad_()
    (found,) = torch.autograd.grad(seesaw(leaf, classes, seen, 0.8, 2.0).sum(), leaf)
    rows = zip(scores.tolist(), classes.tolist(), strict=True)
    expected = torch.tensor([_seesaw_row(s, c, seen.tolist(), 0.8, 2.0) for s, c in rows]).double()
    expected -= torch.nn.functional.one_hot(classes, K)
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-7)
    # Without mistakes' part, whose size depends on the scores, they are the differences, too.
    assert torch.autograd.gradcheck(lambda x: seesaw(x, classes, seen, 0.8, 0.0), leaf)


def test_seesaw_without_exponents_is_the_cross_entropy(rng: np.random.Generator) -> None:
    scores, classes = torch.from_numpy(rng.normal(0, 2, (9, K))), torch.from_numpy(rng.integers(0, K, 9))
    expected = torch.nn.functional.cross_entropy(scores, classes, reduction="none")
    torch.testing.assert_close(seesaw(scores, classes, torch.tensor([9, 0, 1, 5]), 0.0, 0.0), expected)


@pytest.mark.parametrize("count", [0, 1, 40, 10_000])
def test_equalization_against_plain_loops(rng: np.random.Generator, count: int) -> None:
    gamma, mu, alpha = 10.0, 0.6, 3.0
    loss = Equalization(K, gamma, mu, alpha).double()
    up, down = [0.0] * K, [0.0] * K
    for _ in range(3):
        scores, classes = _inputs(rng, count)
        found = loss(scores, classes)
        ratio = [u / d if d > 0 else 100.0 for u, d in zip(up, down, strict=True)]
        spared = [_sigmoid(gamma * (r - mu)) for r in ratio] + [1.0]
        total = 0.0
        for row, c in zip(scores.tolist(), classes.tolist(), strict=True):
            for j, score in enumerate(row):
                if c < 0:
                    continue
                prob = _sigmoid(score)
                if j == c:
                    weight = 1 + alpha * (1 - spared[j])
                    total -= weight * math.log(prob)
                else:
                    weight = spared[j]
                    total -= weight * math.log1p(-prob)
                if j < K and j == c:
                    up[j] += weight * (1 - prob)
                elif j < K:
                    down[j] += weight * prob
        assert found.item() == pytest.approx(total / max(int((classes >= 0).sum()), 1), rel=1e-9)
        torch.testing.assert_close(loss.account, torch.tensor([up, down], dtype=torch.float64))


def test_equalization_gradients(rng: np.random.Generator) -> None:
    scores, classes = _inputs(rng, 12)
    loss = LOSSES["equalization"]().double()
    loss(scores, classes)
    loss.eval()
    before = loss.account.clone()
    assert torch.autograd.gradcheck(lambda x: loss(x, classes), scores.requires_grad_())
    assert torch.equal(loss.account, before)


def test_rare_classes_are_spared() -> None:
    loss = Equalization(2).double()
    often = torch.tensor([[4.0, 1.0, -4.0]] * 50 + [[-1.0, 1.0, -4.0]], dtype=torch.float64)
    classes = torch.tensor([0] * 50 + [1])
    for _ in range(3):
        loss(often, classes)
    scores = torch.zeros((1, 3), dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(loss(scores, torch.tensor([2])), scores)
    # The common class, too, is seldom taken for nothing here; the rare one was pushed down fifty times.
    assert gradient[0, 1] < 0.01 < gradient[0, 2].abs()
    (gradient,) = torch.autograd.grad(loss(scores, torch.tensor([1])), scores)
    assert gradient[0, 1] < -0.5 * 4.9


@pytest.mark.parametrize("kind", list(LOSSES))
def test_probabilities(rng: np.random.Generator, kind: str) -> None:
    scores = _inputs(rng, 20)[0]
    probs = LOSSES[kind]().probabilities(scores)
    for row, found in zip(scores.tolist(), probs.tolist(), strict=True):
        there = 1 - _sigmoid(row[-1])
        total = sum(math.exp(s) for s in row[:-1])
        for j, score in enumerate(row[:-1]):
            alone = math.exp(score) / total if kind == "seesaw" else _sigmoid(score)
            assert found[j] == pytest.approx(alone * there)
        assert found[-1] == pytest.approx(1 - there)
    if kind == "seesaw":
        torch.testing.assert_close(probs.sum(dim=1), torch.ones(20, dtype=torch.float64))


@pytest.mark.parametrize("kind", list(LOSSES))
def test_the_account_is_saved_and_goes_on(rng: np.random.Generator, kind: str) -> None:
    first, second = LOSSES[kind](), LOSSES[kind]()
    scores, classes = _inputs(rng, 30)
    first(scores.float(), classes)
    second.load_state_dict(first.state_dict())
    assert first.account.any()
    assert torch.equal(first(scores.float(), classes), second(scores.float(), classes))


@pytest.mark.parametrize("kind", list(LOSSES))
def test_compiled_they_are_the_same(rng: np.random.Generator, kind: str) -> None:
    pytest.importorskip("torch._dynamo")
    torch._dynamo.reset()
    compiler = Compiler(lambda graph, inputs: graph.forward)
    plain, compiled = LOSSES[kind](), LOSSES[kind]()
    for count in (9, 14, 30):
        scores, classes = _inputs(rng, count)
        expected = plain(scores, classes)
        with compiling(compiler):
            torch.testing.assert_close(compiled(scores, classes), expected)
    assert not compiler.broken
    assert not torch._dynamo.utils.counters["graph_break"]
    torch._dynamo.reset()


@needs_fake_devices
@pytest.mark.parametrize("kind", list(LOSSES))
def test_nothing_waits_for_the_device(waits: Any, kind: str) -> None:
    loss = LOSSES[kind]()
    with FakeTensorMode():
        loss.account = torch.empty(loss.account.shape, dtype=loss.account.dtype, device="cuda")
        scores, classes = torch.empty(8, K + 1, device="cuda"), torch.empty(8, device="cuda").long()
        with waits:
            value = loss(scores, classes)
            probs = loss.probabilities(scores)
    assert waits.found == []
    assert value.device.type == probs.device.type == "cuda"


def _work(rank: int, path: str) -> None:
    store = torch.distributed.FileStore(path, 2)
    torch.distributed.init_process_group("gloo", store=store, rank=rank, world_size=2)
    try:
        loss = Seesaw(K)
        loss(torch.zeros(3, K + 1), torch.tensor([0, 1 + rank, K]))
        assert loss.account.tolist() == [2, 1, 1, 0]
    finally:
        torch.distributed.destroy_process_group()


def test_the_account_is_of_all_processes(tmp_path: Any) -> None:
    if "fork" not in torch.multiprocessing.get_all_start_methods():
        pytest.skip("starting processes anew takes too long")
    arguments = (str(tmp_path / "store"),)
    torch.multiprocessing.start_processes(_work, arguments, nprocs=2, start_method="fork")
