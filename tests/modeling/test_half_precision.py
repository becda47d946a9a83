"""A step in bfloat16 with channels last against the plain one in float32."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from cardamage.layers import Conv2d, FrozenBatchNorm2d
from cardamage.modeling import build_model
from cardamage.structures import Boxes, Instances
from cardamage.utils.events import EventStorage

Make = Callable[..., Any]


def _norm(channels: int) -> FrozenBatchNorm2d:
    norm = FrozenBatchNorm2d(channels)
    for name in ("weight", "bias", "running_mean"):
        getattr(norm, name).normal_()
    norm.running_var.uniform_(0.5, 2)
    return norm


@pytest.mark.parametrize("bias", [False, True])
def test_frozen_norms_scale_the_weights_only_in_low_precision(bias: bool) -> None:
    torch.manual_seed(0)
    conv = Conv2d(16, 8, 3, padding=1, bias=bias, norm=_norm(8), activation=torch.nn.ReLU())
    x = torch.randn(2, 16, 9, 7, requires_grad=True)
    plain = torch.nn.functional.conv2d(x, conv.weight, conv.bias, padding=1)
    exact = conv.norm(plain).relu()  # type: ignore[misc]
    assert torch.equal(conv(x), exact)
    weights = torch.randn_like(exact)
    inputs = [x, *conv.parameters()]
    expected = torch.autograd.grad(exact, inputs, weights)
    with torch.autocast("cpu", torch.bfloat16):
        rough = conv(x)
    assert rough.dtype == torch.bfloat16
    # Sums of 144 products of numbers rounded to 8 bits.
    assert (rough - exact).norm() < 2**-7 * exact.norm()
    # Where rounding moves a number across zero, the ReLU lets it through or not.
    for found, gradient in zip(torch.autograd.grad(rough, inputs, weights.bfloat16()), expected, strict=True):
        assert (found - gradient).norm() < 0.06 * gradient.norm()


def _steps(make: Make, batch: list[Any], **options: Any) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """Losses and gradients of the plain step, and of the fast one of the same weights."""
    results = []
    for fast in (False, True):
        torch.manual_seed(0)
        common = {"MODEL.RESNETS.NORM": "FrozenBN", "MODEL.BACKBONE.FREEZE_AT": 2, **options}
        fast_only = {"MODEL.CHANNELS_LAST": fast, "MODEL.RPN.SAMPLED_GRADIENT": fast}
        model = build_model(make(**common, **fast_only))
        torch.manual_seed(1)
        with torch.autocast("cpu", torch.bfloat16, enabled=fast):
            losses = model(batch)
        sum(losses.values()).backward()
        frozen = [n for n, p in model.named_parameters() if not p.requires_grad]
        assert frozen
        assert all(model.get_parameter(name).grad is None for name in frozen)
        results.append((losses, {n: p.grad for n, p in model.named_parameters() if p.grad is not None}))
    return results


def _check(results: list[tuple[dict[str, Any], dict[str, Any]]]) -> None:
    (exact, exact_grads), (rough, grads) = results
    for name, loss in exact.items():
        torch.testing.assert_close(rough[name], loss, rtol=0.02, atol=2e-3)
    assert grads.keys() == exact_grads.keys()
    for name, gradient in exact_grads.items():
        assert grads[name].isfinite().all()
        # Some 20 layers there and back, each with a relative error of about 2^-8, most of them independent,
        # and ReLUs that rounding opens or closes.
        error = (grads[name] - gradient).norm()
        assert error <= 0.15 * gradient.norm() + 1e-6, name


@pytest.mark.parametrize("size", [(96, 128), (101, 67)])
def test_rpn_losses_and_gradients(
    tiny_cfg: Make, sample: Make, storage: EventStorage, size: tuple[int, int]
) -> None:
    batch = [sample(1, 3, size), sample(2, 0), sample(3, 1, (64, 100))]
    options = {"MODEL.META_ARCHITECTURE": "ProposalNetwork", "MODEL.RPN.BATCH_SIZE_PER_IMAGE": 64}
    _check(_steps(tiny_cfg, batch, **options))


def test_losses_and_gradients_of_the_heads(tiny_cfg: Make, sample: Make, storage: EventStorage) -> None:
    batch = []
    for seed in (1, 2):
        one = sample(seed)
        boxes = one["instances"].gt_boxes.tensor.repeat(20, 1)
        boxes = (boxes + torch.randn_like(boxes) * 6).clamp(min=0)
        boxes[:, 2:] = torch.maximum(boxes[:, 2:], boxes[:, :2] + 2)
        proposals = Instances((96, 128), proposal_boxes=Boxes(boxes), objectness_logits=torch.zeros(60))
        batch.append({**one, "proposals": proposals})
    options = {"MODEL.PROPOSAL_GENERATOR.NAME": "PrecomputedProposals"}
    _check(_steps(tiny_cfg, batch, **options))


@pytest.mark.parametrize(
    ("wanted", "amp", "expected"),
    [("auto", True, True), ("auto", False, False), (False, True, False), (True, False, True)],
)
def test_the_layout_follows_the_precision_unless_told(
    tiny_cfg: Make, sample: Make, wanted: Any, amp: bool, expected: bool
) -> None:
    model = build_model(tiny_cfg(**{"MODEL.CHANNELS_LAST": wanted, "SOLVER.AMP.ENABLED": amp}))
    weight = model.backbone.fpn_output2.weight
    batch = model.preprocess_image([sample(0)]).tensor
    for tensor in (weight, batch):
        assert tensor.is_contiguous(memory_format=torch.channels_last) == expected
