"""Parameter groups, clipping and weight averaging."""

from __future__ import annotations

import random
from typing import Any

import pytest
import torch
from torch import nn

from cardamage.config import get_cfg
from cardamage.errors import ConfigValueError
from cardamage.solver import (
    ModelEMA,
    build_optimizer,
    get_default_optimizer_params,
    maybe_add_gradient_clipping,
    reduce_param_groups,
)


class Net(nn.Module):
    """A convolution, a norm, a linear layer whose weight is shared, and something frozen."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 1)
        self.norm = nn.BatchNorm2d(4)
        self.fc = nn.Linear(4, 4)
        self.again = nn.Linear(4, 4, bias=False)
        self.again.weight = self.fc.weight
        self.frozen = nn.Linear(2, 2)
        self.frozen.requires_grad_(False)


def settings(model: nn.Module, groups: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    names = {parameter: name for name, parameter in model.named_parameters()}
    return {
        names[parameter]: {key: value for key, value in group.items() if key in ("lr", "weight_decay")}
        for group in groups
        for parameter in group["params"]
    }


def test_default_groups_follow_norms_only() -> None:
    model, cfg = Net(), get_cfg()
    cfg.SOLVER.BASE_LR, cfg.SOLVER.WEIGHT_DECAY = 0.02, 0.0001
    optimizer = build_optimizer(cfg, model)
    found = settings(model, optimizer.param_groups)
    assert found == {
        "conv.weight": {"lr": 0.02, "weight_decay": 0.0001},
        "conv.bias": {"lr": 0.02, "weight_decay": 0.0001},
        "norm.weight": {"lr": 0.02, "weight_decay": 0.0},
        "norm.bias": {"lr": 0.02, "weight_decay": 0.0},
        "fc.weight": {"lr": 0.02, "weight_decay": 0.0001},
        "fc.bias": {"lr": 0.02, "weight_decay": 0.0001},
    }
    assert [len(group["params"]) for group in optimizer.param_groups] == [4, 2]


def test_bias_settings_win_over_norm_settings() -> None:
    model = Net()
    groups = get_default_optimizer_params(
        model, base_lr=0.1, weight_decay_norm=0.0, bias_lr_factor=2.0, weight_decay_bias=0.5
    )
    found = settings(model, groups)
    assert found["norm.bias"] == {"lr": 0.2, "weight_decay": 0.5}
    assert found["norm.weight"] == {"lr": 0.1, "weight_decay": 0.0}
    assert found["conv.weight"] == {"lr": 0.1}


def test_factor_by_name_and_overrides() -> None:
    model = Net()
    groups = get_default_optimizer_params(
        model,
        base_lr=0.1,
        lr_factor_func=lambda name: 0.5 if name.startswith("conv") else 1.0,
        overrides={"bias": {"weight_decay": 0.3}},
    )
    found = settings(model, groups)
    assert found["conv.weight"] == {"lr": 0.05}
    assert found["fc.bias"] == {"lr": 0.1, "weight_decay": 0.3}
    with pytest.raises(ValueError, match="lr_factor_func needs base_lr"):
        get_default_optimizer_params(model, lr_factor_func=lambda name: 1.0)
    with pytest.raises(ValueError, match="bias_lr_factor needs base_lr"):
        get_default_optimizer_params(model, bias_lr_factor=2.0)
    with pytest.raises(ValueError, match="use one of them"):
        get_default_optimizer_params(model, weight_decay_bias=0.0, overrides={"bias": {"lr": 1.0}})


def test_later_groups_win_and_equal_ones_merge() -> None:
    first, second, third = (nn.Parameter(torch.zeros(1)) for _ in range(3))
    reduced = reduce_param_groups(
        [
            {"params": [first, second], "lr": 1.0},
            {"params": [third], "lr": 2.0},
            {"params": [second], "lr": 2.0},
        ]
    )
    assert [(group["lr"], len(group["params"])) for group in reduced] == [(1.0, 1), (2.0, 2)]
    assert reduced[1]["params"][0] is second


def test_names_of_parameters_stay_beside_them() -> None:
    first, second, third = (nn.Parameter(torch.zeros(1)) for _ in range(3))
    groups = [
        {"params": [first, second], "param_names": ["first", "second"], "lr": 1.0},
        {"params": [third], "param_names": ["third"], "lr": 2.0},
        {"params": [first], "param_names": ["first"], "lr": 2.0},
    ]
    assert [(group["lr"], group["param_names"]) for group in reduce_param_groups(groups)] == [
        (2.0, ["first", "third"]),
        (1.0, ["second"]),
    ]


def test_random_models_get_what_their_names_and_kinds_say() -> None:
    seed = random.randrange(10**6)
    print("seed", seed)
    draw = random.Random(seed)
    kinds = [
        lambda: nn.Conv2d(2, 4, 1),
        lambda: nn.GroupNorm(2, 4),
        lambda: nn.BatchNorm2d(4),
        lambda: nn.LayerNorm(4),
        lambda: nn.Linear(4, 4),
        lambda: nn.Embedding(3, 4),
    ]
    for _ in range(20):
        model = nn.Sequential(*(draw.choice(kinds)() for _ in range(draw.randint(1, 8))))
        cfg = get_cfg()
        cfg.SOLVER.BASE_LR, cfg.SOLVER.WEIGHT_DECAY = draw.random(), draw.random()
        cfg.SOLVER.WEIGHT_DECAY_NORM, cfg.SOLVER.BIAS_LR_FACTOR = draw.random(), draw.choice([1.0, 2.0])
        cfg.SOLVER.WEIGHT_DECAY_BIAS = draw.choice([None, 0.0, 0.25])
        expected = {}
        for index, module in enumerate(model):
            for name in ("weight", "bias"):
                if getattr(module, name, None) is None:
                    continue
                norm = type(module).__name__ in ("GroupNorm", "BatchNorm2d", "LayerNorm")
                decay = cfg.SOLVER.WEIGHT_DECAY_NORM if norm else cfg.SOLVER.WEIGHT_DECAY
                rate = cfg.SOLVER.BASE_LR
                if name == "bias":
                    rate *= cfg.SOLVER.BIAS_LR_FACTOR
                    if cfg.SOLVER.WEIGHT_DECAY_BIAS is not None:
                        decay = cfg.SOLVER.WEIGHT_DECAY_BIAS
                expected[f"{index}.{name}"] = {"lr": rate, "weight_decay": decay}
        optimizer = build_optimizer(cfg, model)
        assert settings(model, optimizer.param_groups) == expected
        distinct = {tuple(sorted(values.items())) for values in expected.values()}
        assert len(optimizer.param_groups) == len(distinct)


def test_nothing_to_train_is_said() -> None:
    with pytest.raises(ConfigValueError, match="no trainable parameter"):
        build_optimizer(get_cfg(), Net().requires_grad_(False))


@pytest.mark.parametrize("nesterov", [False, True])
def test_steps_equal_the_formula(nesterov: bool) -> None:
    seed = random.randrange(10**6)
    print("seed", seed)
    torch.manual_seed(seed)
    layer, cfg = nn.Linear(3, 2, bias=False).double(), get_cfg()
    cfg.SOLVER.BASE_LR, cfg.SOLVER.NESTEROV, cfg.SOLVER.WEIGHT_DECAY = 0.1, nesterov, 0.01
    optimizer = build_optimizer(cfg, layer)
    weight, velocity = layer.weight.detach().clone(), torch.zeros(2, 3, dtype=torch.float64)
    for _ in range(3):
        gradient = torch.randn(2, 3, dtype=torch.float64)
        layer.weight.grad = gradient.clone()
        optimizer.step()
        total = gradient + 0.01 * weight
        velocity = 0.9 * velocity + total
        weight = weight - 0.1 * (total + 0.9 * velocity if nesterov else velocity)
    torch.testing.assert_close(layer.weight.detach(), weight, rtol=0, atol=1e-12)


@pytest.mark.parametrize("kind", ["value", "norm", "full_model"])
@pytest.mark.parametrize("as_class", [False, True])
def test_clipping(kind: str, as_class: bool) -> None:
    cfg = get_cfg()
    clip = cfg.SOLVER.CLIP_GRADIENTS
    clip.ENABLED, clip.CLIP_TYPE, clip.CLIP_VALUE = True, kind, 0.5
    parameters = [nn.Parameter(torch.zeros(4, dtype=torch.float64)) for _ in range(3)]
    gradients = [torch.randn(4, dtype=torch.float64) * size for size in (0.01, 1.0, 5.0)]
    for parameter, gradient in zip(parameters, gradients, strict=True):
        parameter.grad = gradient.clone()
    if as_class:
        optimizer = maybe_add_gradient_clipping(cfg, torch.optim.SGD)(parameters, lr=1.0)
        assert type(optimizer).__name__ == "SGDWithGradientClip"
    else:
        optimizer = maybe_add_gradient_clipping(cfg, torch.optim.SGD(parameters, lr=1.0))
    optimizer.step()
    whole = torch.cat(gradients).norm()
    for parameter, gradient in zip(parameters, gradients, strict=True):
        expected = {
            "value": gradient.clamp(-0.5, 0.5),
            "norm": gradient * min(1.0, 0.5 / (gradient.norm() + 1e-6)),
            "full_model": gradient * min(1.0, 0.5 / (whole + 1e-6)),
        }[kind]
        torch.testing.assert_close(-parameter.detach(), expected)


def test_clipping_off_and_unknown() -> None:
    cfg = get_cfg()
    assert maybe_add_gradient_clipping(cfg, torch.optim.SGD) is torch.optim.SGD
    cfg.SOLVER.CLIP_GRADIENTS.ENABLED = True
    cfg.SOLVER.CLIP_GRADIENTS.CLIP_TYPE = "cut"
    with pytest.raises(ConfigValueError, match="use one of value, norm, full_model"):
        maybe_add_gradient_clipping(cfg, torch.optim.SGD)


def test_average_follows_its_formula_and_comes_back() -> None:
    torch.manual_seed(random.randrange(10**6))
    model = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2)).double()
    ema = ModelEMA(model, 0.8)
    expected = model[0].weight.detach().clone()
    for update in range(1, 60):
        with torch.no_grad():
            model[0].weight.add_(torch.randn(2, 2, dtype=torch.float64))
            model[1].running_mean.add_(1.0)
        ema.update()
        decay = min(0.8, (1 + update) / (10 + update))
        expected = decay * expected + (1 - decay) * model[0].weight.detach()
    own = {name: value.clone() for name, value in model.state_dict().items()}
    with ema.applied() as averaged:
        torch.testing.assert_close(averaged[0].weight.detach(), expected, rtol=0, atol=1e-12)
        assert torch.equal(averaged[1].running_mean, own["1.running_mean"])
    assert all(torch.equal(value, own[name]) for name, value in model.state_dict().items())

    other = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2)).double()
    other.load_state_dict(ema.averaged_state_dict())
    again = ModelEMA(other, 0.8)
    again.load_state_dict(ema.state_dict())
    assert all(torch.equal(value, own[name]) for name, value in other.state_dict().items())
    assert again.updates == ema.updates
    for name, value in again.averaged_state_dict().items():
        assert torch.equal(value, ema.averaged_state_dict()[name])


def test_average_refuses_a_decay_out_of_range() -> None:
    with pytest.raises(ConfigValueError, match=r"SOLVER\.EMA\.DECAY is 1\.0"):
        ModelEMA(nn.Linear(1, 1), 1.0)


def _reference_steps(weights: list[Any], gradients: list[list[Any]], solver: Any) -> list[Any]:
    """SGD as it is defined, in float64."""
    weights = [w.detach().double().clone() for w in weights]
    momenta = [torch.zeros_like(w) for w in weights]
    for step in gradients:
        for weight, momentum, gradient in zip(weights, momenta, step, strict=True):
            momentum.mul_(solver.MOMENTUM).add_(gradient.double() + solver.WEIGHT_DECAY * weight)
            weight -= solver.BASE_LR * momentum
    return weights


@pytest.mark.parametrize("fused", [True, False])
def test_every_kernel_does_plain_sgd(fused: bool) -> None:
    model, cfg = nn.Sequential(nn.Conv2d(3, 5, 3), nn.Linear(7, 2)), get_cfg()
    cfg.SOLVER.BASE_LR, cfg.SOLVER.FUSED = 0.1, fused
    optimizer = build_optimizer(cfg, model)
    assert optimizer.param_groups[0].get("fused") == (True if fused else None)
    gradients = [[torch.randn_like(p) for p in model.parameters()] for _ in range(4)]
    expected = _reference_steps(list(model.parameters()), gradients, cfg.SOLVER)
    for step in gradients:
        for parameter, gradient in zip(model.parameters(), step, strict=True):
            parameter.grad = gradient.clone()
        optimizer.step()
    for parameter, weight in zip(model.parameters(), expected, strict=True):
        torch.testing.assert_close(parameter.double(), weight, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("fused", [True, False])
def test_momentum_of_another_memory_layout_goes_on(fused: bool) -> None:
    cfg = get_cfg()
    cfg.SOLVER.BASE_LR, cfg.SOLVER.FUSED = 0.1, fused
    first = nn.Conv2d(3, 5, 3)
    gradients = [[torch.randn_like(p) for p in first.parameters()] for _ in range(2)]
    expected = _reference_steps(list(first.parameters()), gradients, cfg.SOLVER)
    second = nn.Conv2d(3, 5, 3).to(memory_format=torch.channels_last)
    optimizers = [build_optimizer(cfg, model) for model in (first, second)]
    for model, optimizer, step in zip((first, second), optimizers, gradients, strict=True):
        if model is second:
            second.load_state_dict(first.state_dict())
            optimizer.load_state_dict(optimizers[0].state_dict())
        for parameter, gradient in zip(model.parameters(), step, strict=True):
            parameter.grad = torch.empty_like(parameter).copy_(gradient)
        optimizer.step()
    for parameter, weight in zip(second.parameters(), expected, strict=True):
        torch.testing.assert_close(parameter.double(), weight, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("clip", ["", "value", "norm", "full_model"])
def test_scaled_gradients_make_the_same_steps(clip: str) -> None:
    cfg = get_cfg()
    cfg.SOLVER.BASE_LR = 0.1
    cfg.SOLVER.CLIP_GRADIENTS.ENABLED, cfg.SOLVER.CLIP_GRADIENTS.CLIP_VALUE = clip != "", 0.3
    cfg.SOLVER.CLIP_GRADIENTS.CLIP_TYPE = clip or "value"
    states = []
    for fused, scaled in ((False, False), (True, False), (True, True), (False, True)):
        torch.manual_seed(0)
        model = nn.Linear(6, 4)
        cfg.SOLVER.FUSED = fused
        optimizer = build_optimizer(cfg, model)
        scaler = torch.amp.GradScaler("cpu", enabled=scaled)
        for step in range(4):
            optimizer.zero_grad()
            # With a scale, the first step's gradients are infinite, and it is left out.
            if scaled and step == 0:
                scaler.scale(model(torch.full((2, 6), 1e38)).sum()).backward()
                scaler.step(optimizer)
                scaler.update()
                optimizer.zero_grad()
            scaler.scale(model(torch.randn(2, 6)).square().sum()).backward()
            scaler.step(optimizer)
            scaler.update()
        states.append(model.state_dict())
    for state in states[1:]:
        torch.testing.assert_close(state, states[0], rtol=1e-5, atol=1e-6)


def test_norms_of_single_gradients_are_clipped_together() -> None:
    parameters = [nn.Parameter(torch.zeros(3)) for _ in range(4)]
    optimizer = maybe_add_gradient_clipping(_clipping_cfg("norm"), torch.optim.SGD(parameters, lr=0.0))
    for parameter, size in zip(parameters, (0.0, 0.1, 5.0, None), strict=True):
        parameter.grad = None if size is None else torch.tensor([0.0, size, 0.0])
    optimizer.step()
    assert parameters[0].grad.tolist() == [0, 0, 0]
    assert parameters[1].grad[1] == pytest.approx(0.1)
    assert parameters[2].grad[1] == pytest.approx(0.5)
    assert parameters[3].grad is None


def _clipping_cfg(kind: str) -> Any:
    cfg = get_cfg()
    cfg.SOLVER.CLIP_GRADIENTS.ENABLED = True
    cfg.SOLVER.CLIP_GRADIENTS.CLIP_TYPE = kind
    cfg.SOLVER.CLIP_GRADIENTS.CLIP_VALUE = 0.5
    return cfg


def test_a_checkpoint_does_not_change_the_kernel() -> None:
    cfg = get_cfg()
    cfg.SOLVER.FUSED = False
    plain = build_optimizer(cfg, nn.Linear(2, 2))
    cfg.SOLVER.FUSED = True
    model = nn.Linear(2, 2)
    fused = build_optimizer(cfg, model)
    for optimizer in (plain, fused):
        for group in optimizer.param_groups:
            for parameter in group["params"]:
                parameter.grad = torch.ones_like(parameter)
        optimizer.step()
    fused.load_state_dict(plain.state_dict())
    assert all(group["fused"] and not group["foreach"] for group in fused.param_groups)
    plain.load_state_dict(fused.state_dict())
    assert all(group["foreach"] and not group["fused"] for group in plain.param_groups)
    fused.step()
    plain.step()
