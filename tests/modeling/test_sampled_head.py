from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from cardamage.modeling import build_model
from cardamage.modeling.batch import force_fixed_shapes
from cardamage.modeling.proposal_generator.rpn_head import StandardRPNHead
from cardamage.modeling.proposal_generator.sampled_head import can_predict_sampled, predict_sampled
from cardamage.utils.events import EventStorage

Make = Callable[..., Any]
SIZES = [(7, 9), (4, 5), (1, 1)]
ANCHORS = 3


def _head() -> StandardRPNHead:
    torch.manual_seed(0)
    head = StandardRPNHead(in_channels=6, num_anchors=ANCHORS).double()
    for parameter in head.parameters():
        torch.nn.init.normal_(parameter)
    return head


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_sample_equals_the_whole_heads_values_and_gradients(layout: torch.memory_format) -> None:
    head = _head()
    maps = [
        torch.randn(2, 6, h, w, dtype=torch.float64).contiguous(memory_format=layout).requires_grad_()
        for h, w in SIZES
    ]
    total = sum(h * w for h, w in SIZES) * ANCHORS
    # Every anchor of the maps, borders and corners and all, in another order for each image; one twice.
    index = torch.stack([torch.cat([torch.randperm(total), torch.tensor([4])]) for _ in range(2)])
    level_logits, level_deltas = head(maps)
    logits = torch.cat([x.permute(0, 2, 3, 1).flatten(1) for x in level_logits], dim=1).gather(1, index)
    deltas = torch.cat([x.permute(0, 2, 3, 1).reshape(2, -1, 4) for x in level_deltas], dim=1)
    deltas = deltas.gather(1, index[..., None].expand(-1, -1, 4))
    found = predict_sampled(head, maps, index)
    weights = [torch.randn_like(logits), torch.randn_like(deltas)]
    inputs = [*maps, *head.parameters()]
    grads = []
    for values in ((logits, deltas), found):
        loss = sum((w * v).sum() for w, v in zip(weights, values, strict=True))
        grads.append(torch.autograd.grad(loss, inputs))  # type: ignore[arg-type]
    torch.testing.assert_close(found[0], logits)
    torch.testing.assert_close(found[1], deltas)
    for exact, sampled in zip(*grads, strict=True):
        torch.testing.assert_close(sampled, exact)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_several_threads_give_the_same_gradients_every_time(layout: torch.memory_format) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(4)
    try:
        torch.manual_seed(0)
        head = StandardRPNHead(in_channels=64, num_anchors=ANCHORS)
        maps = [torch.randn(2, 64, s, s).contiguous(memory_format=layout).requires_grad_() for s in (40, 20)]
        # Many more anchors than pixels, so that threads meet in most of these.
        index = torch.randint((1600 + 400) * ANCHORS, (2, 8000))
        found = []
        for _ in range(5):
            logits, deltas = predict_sampled(head, maps, index)
            found.append(torch.autograd.grad((logits.sin().sum() + deltas.cos().sum()), maps))
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(a, b) for again in found[1:] for a, b in zip(again, found[0], strict=True))


def test_every_parameter_learns_in_half_precision() -> None:
    head = StandardRPNHead(in_channels=6, num_anchors=ANCHORS)
    maps = [torch.randn(2, 6, h, w) for h, w in SIZES]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        with torch.no_grad():
            head(maps)
        logits, deltas = predict_sampled(head, maps, torch.randint(0, 80, (2, 5)))
    (logits.float().sum() + deltas.float().sum()).backward()
    assert all(p.grad is not None and bool(p.grad.any()) for p in head.parameters())


def test_only_the_standard_head_and_small_samples_are_taken_apart() -> None:
    head = _head()
    assert can_predict_sampled(head, 10, 80)
    assert not can_predict_sampled(head, 11, 80)
    assert not can_predict_sampled(StandardRPNHead(in_channels=6, num_anchors=1, conv_dims=[-1, -1]), 1, 80)
    assert not can_predict_sampled(type("Own", (StandardRPNHead,), {})(in_channels=6, num_anchors=1), 1, 80)
    head.conv.register_forward_hook(lambda *_: None)
    assert not can_predict_sampled(head, 1, 80)


@pytest.mark.parametrize("fixed", [False, True])
@pytest.mark.parametrize("channels_last", [False, True])
def test_losses_of_a_step_are_the_same(
    tiny_cfg: Make, sample: Make, storage: EventStorage, fixed: bool, channels_last: bool
) -> None:
    batch = [sample(1, 3), sample(2, 0), sample(3, 1, (64, 100))]
    results = []
    for sampled in (False, True):
        torch.manual_seed(0)
        # Without BatchNorm, through which gradients would amplify rounding.
        options = {"MODEL.RESNETS.NORM": "FrozenBN", "MODEL.CHANNELS_LAST": channels_last}
        options |= {"MODEL.RPN.SAMPLED_GRADIENT": sampled, "MODEL.RPN.BATCH_SIZE_PER_IMAGE": 100}
        model = build_model(tiny_cfg(**options))
        torch.nn.init.normal_(model.proposal_generator.rpn_head.anchor_deltas.weight, std=1e-3)
        with force_fixed_shapes(fixed):
            losses = model(batch)
        sum(losses.values()).backward()
        results.append((losses, {n: p.grad for n, p in model.named_parameters() if p.grad is not None}))
    (exact, exact_grads), (found, found_grads) = results
    assert found.keys() == exact.keys()
    assert found_grads.keys() == exact_grads.keys()
    for name, loss in exact.items():
        torch.testing.assert_close(found[name], loss, rtol=1e-5, atol=1e-7)
    for name, gradient in exact_grads.items():
        scale = gradient.abs().max().item()
        torch.testing.assert_close(found_grads[name], gradient, rtol=1e-3, atol=1e-5 * scale + 1e-9)
