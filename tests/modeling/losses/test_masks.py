from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from cardamage.modeling import build_model
from cardamage.modeling.losses import MaskLoss
from cardamage.modeling.losses.masks import outline
from cardamage.utils.compiling import Compiler, compiling, region
from tests.support.fake_devices import needs_fake_devices

Make = Callable[..., Any]
KINDS = [("bce", 0.0), ("bce", 3.0), ("dice", 0.0), ("dice", 0.5), ("bce_dice", 0.0), ("bce_dice", 2.0)]


def _masks(rng: np.random.Generator, count: int, size: int) -> np.ndarray:
    masks = rng.random((count, size, size)) < rng.random((count, 1, 1))
    if count > 3:
        masks[0], masks[1], masks[2] = False, True, False
        masks[2, 0, size // 2] = True
        masks[3] = np.eye(size, dtype=bool)  # a scratch
    return masks


def _outline(mask: np.ndarray) -> np.ndarray:
    height, width = mask.shape
    found = np.zeros_like(mask)
    for row, column in np.ndindex(height, width):
        around = mask[max(row - 1, 0) : row + 2, max(column - 1, 0) : column + 2]
        found[row, column] = around.any() and not around.all()
    return found


def _reference(
    logits: np.ndarray, masks: np.ndarray, valid: np.ndarray, kind: str, boundary_weight: float
) -> float:
    cross, weight_sum, overlaps = 0.0, 0.0, []
    for scores, mask, used in zip(logits, masks, valid, strict=True):
        if not used:
            continue
        weights = 1 + boundary_weight * _outline(mask)
        probs = 1 / (1 + np.exp(-scores))
        cross -= (weights * np.where(mask, np.log(probs), np.log1p(-probs))).sum()
        weight_sum += weights.sum()
        overlap = 2 * (weights * probs)[mask].sum() + 1
        overlaps.append(1 - overlap / ((weights * probs**2).sum() + weights[mask].sum() + 1))
    bce = cross / max(weight_sum, 1)
    dice = sum(overlaps) / max(len(overlaps), 1)
    return {"bce": bce, "dice": dice, "bce_dice": bce + dice}[kind]


@pytest.mark.parametrize(("count", "size"), [(0, 28), (1, 1), (1, 28), (9, 7), (9, 28), (10_000, 4)])
@pytest.mark.parametrize(("kind", "boundary_weight"), KINDS)
def test_losses_against_float64(
    rng: np.random.Generator, kind: str, boundary_weight: float, count: int, size: int
) -> None:
    masks, valid = _masks(rng, count, size), rng.random(count) < 0.7
    logits = rng.normal(0, 2, (count, size, size))
    given = [torch.from_numpy(x) for x in (logits, masks, valid)]
    found = MaskLoss(kind, boundary_weight)(*given).item()
    expected = _reference(logits, masks, valid, kind, boundary_weight)
    assert found == pytest.approx(expected, rel=1e-9, abs=1e-12)


@pytest.mark.parametrize(("kind", "boundary_weight"), KINDS)
def test_gradients(rng: np.random.Generator, kind: str, boundary_weight: float) -> None:
    masks, valid = torch.from_numpy(_masks(rng, 5, 4)), torch.tensor([True, True, True, False, True])
    logits = torch.from_numpy(rng.normal(0, 2, (5, 4, 4))).requires_grad_()
    loss = MaskLoss(kind, boundary_weight)
    assert torch.autograd.gradcheck(lambda x: loss(x, masks, valid), logits)


def test_outlines_by_hand() -> None:
    mask = torch.zeros((1, 5, 5), dtype=torch.bool)
    mask[0, :, :2] = True  # cut off by the left border, which is none of its outline
    expected = torch.zeros((1, 5, 5), dtype=torch.bool)
    expected[0, :, 1:3] = True
    assert torch.equal(outline(mask), expected)
    assert not outline(torch.ones((2, 4, 4), dtype=torch.bool)).any()


def test_right_masks_cost_little_and_thin_ones_as_much_as_wide_ones() -> None:
    thin = torch.zeros((1, 28, 28), dtype=torch.bool)
    thin[0, 14] = True
    wide = torch.zeros((1, 28, 28), dtype=torch.bool)
    wide[0, 2:26, 2:26] = True
    used = torch.ones(1, dtype=torch.bool)
    for kind, boundary_weight in KINDS:
        assert MaskLoss(kind, boundary_weight)((thin.float() - 0.5) * 40, thin, used) < 1e-5
    nothing = torch.full((1, 28, 28), -20.0)
    missed = [MaskLoss("dice")(nothing, mask, used).item() for mask in (thin, wide)]
    assert missed == pytest.approx([1.0, 1.0], abs=0.05)
    # With the cross entropy a scratch that is not found at all costs a twentieth of it.
    entropies = [MaskLoss()(nothing, mask, used).item() for mask in (thin, wide)]
    assert entropies[0] < entropies[1] / 15


def test_compiled_it_is_the_same(rng: np.random.Generator) -> None:
    pytest.importorskip("torch._dynamo")
    torch._dynamo.reset()
    graphs = []

    def backend(graph: torch.fx.GraphModule, inputs: Any) -> Callable[..., Any]:
        graphs.append(graph)
        return graph.forward

    @region
    def run(loss: MaskLoss, *given: torch.Tensor) -> torch.Tensor:
        return loss(*given)

    compiler = Compiler(backend)
    for count in (5, 8):
        masks, valid = torch.from_numpy(_masks(rng, count, 14)), torch.ones(count, dtype=torch.bool)
        logits = torch.from_numpy(rng.normal(0, 2, (count, 14, 14)))
        for kind, boundary_weight in KINDS:
            loss = MaskLoss(kind, boundary_weight)
            with compiling(compiler):
                found = run(loss, logits, masks, valid)
            torch.testing.assert_close(found, loss(logits, masks, valid))
    assert len(graphs) <= len(KINDS)
    assert not compiler.broken
    torch._dynamo.reset()


@needs_fake_devices
def test_nothing_waits_for_the_device(waits: Any) -> None:
    with FakeTensorMode(), waits:
        logits = torch.empty(8, 28, 28, device="cuda")
        value = MaskLoss("bce_dice", 2.0)(logits, logits > 0, logits[:, 0, 0] > 0)
    assert waits.found == []
    assert value.device.type == "cuda"


def test_the_heads_have_it(tiny_cfg: Make) -> None:
    assert build_model(tiny_cfg()).roi_heads.mask_head.mask_loss == MaskLoss()
    options = {"MODEL.ROI_MASK_HEAD.LOSS": "bce_dice", "MODEL.ROI_MASK_HEAD.BOUNDARY_WEIGHT": 2}
    assert build_model(tiny_cfg(**options)).roi_heads.mask_head.mask_loss == MaskLoss("bce_dice", 2.0)
