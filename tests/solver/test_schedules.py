"""Learning rates against their closed forms, at every iteration."""

from __future__ import annotations

import math
import random
from typing import Any

import pytest
import torch
from fvcore.common.param_scheduler import StepWithFixedGammaParamScheduler

from cardamage.config import get_cfg
from cardamage.errors import ConfigValueError
from cardamage.solver import (
    LRMultiplier,
    WarmupCosineLR,
    WarmupMultiStepLR,
    auto_scale_workers,
    build_lr_scheduler,
)


def rates(**solver: Any) -> list[float]:
    """The learning rates of all iterations, and of the one after the last."""
    cfg = get_cfg()
    for key, value in solver.items():
        setattr(cfg.SOLVER, key, value)
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=cfg.SOLVER.BASE_LR)
    scheduler = build_lr_scheduler(cfg, optimizer)
    seen = []
    for _ in range(cfg.SOLVER.MAX_ITER + 1):
        seen.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return seen


def warmed(iteration: int, length: int, factor: float, end: float) -> float:
    """The ramp: from ``factor`` up to the schedule's value at its end."""
    return factor + (end - factor) * iteration / length


@pytest.mark.parametrize("steps", [(), (30,), (20, 30, 36)])
def test_multi_step(steps: tuple[int, ...]) -> None:
    seen = rates(BASE_LR=0.02, MAX_ITER=40, STEPS=steps, GAMMA=0.1, WARMUP_ITERS=8, WARMUP_FACTOR=0.01)
    for iteration in range(40):
        decays = sum(iteration >= step for step in steps)
        factor = warmed(iteration, 8, 0.01, 1.0) if iteration < 8 else 0.1**decays
        assert seen[iteration] == pytest.approx(0.02 * factor, rel=1e-9), iteration


def test_multi_step_of_real_length() -> None:
    seen = rates(BASE_LR=0.02, MAX_ITER=9000, STEPS=(6000, 8000), WARMUP_ITERS=100)
    assert seen[5999] == pytest.approx(0.02)
    assert seen[6000] == pytest.approx(0.002)
    assert seen[7999] == pytest.approx(0.002)
    assert seen[8000] == pytest.approx(0.0002)


@pytest.mark.parametrize("end", [0.0, 0.005])
def test_cosine(end: float) -> None:
    seen = rates(
        LR_SCHEDULER_NAME="WarmupCosineLR",
        BASE_LR=0.05,
        BASE_LR_END=end,
        MAX_ITER=50,
        WARMUP_ITERS=10,
        WARMUP_FACTOR=0.1,
    )

    def cosine(where: float) -> float:
        return end + 0.5 * (0.05 - end) * (1 + math.cos(math.pi * where))

    for iteration in range(50):
        ramp = 0.005 + (cosine(0.2) - 0.005) * iteration / 10
        expected = ramp if iteration < 10 else cosine(iteration / 50)
        # At the very end of the warm-up fvcore still counts as inside it.
        assert seen[iteration] == pytest.approx(expected, rel=1e-6), iteration


def test_fixed_gamma() -> None:
    seen = rates(
        LR_SCHEDULER_NAME="WarmupStepWithFixedGammaLR",
        BASE_LR=1.0,
        MAX_ITER=40,
        NUM_DECAYS=3,
        GAMMA=0.5,
        WARMUP_ITERS=0,
    )
    assert seen[:40] == pytest.approx([0.5 ** (iteration // 10) for iteration in range(40)])


def test_constant_warmup_and_rescaled_interval() -> None:
    seen = rates(
        BASE_LR=1.0, MAX_ITER=20, STEPS=(10,), WARMUP_ITERS=5, WARMUP_FACTOR=0.3, WARMUP_METHOD="constant"
    )
    assert seen[:5] == pytest.approx([0.3] * 5)
    rescaled = rates(
        LR_SCHEDULER_NAME="WarmupCosineLR",
        BASE_LR=1.0,
        MAX_ITER=20,
        WARMUP_ITERS=5,
        WARMUP_FACTOR=0.0,
        RESCALE_INTERVAL=True,
    )
    expected = [0.5 * (1 + math.cos(math.pi * (iteration - 5) / 15)) for iteration in range(6, 20)]
    assert rescaled[6:20] == pytest.approx(expected)


def test_warmup_longer_than_training() -> None:
    seen = rates(BASE_LR=1.0, MAX_ITER=10, STEPS=(), WARMUP_ITERS=1000, WARMUP_FACTOR=0.0)
    assert seen[:10] == pytest.approx([iteration / 10 for iteration in range(10)])


def test_steps_past_the_end_are_left_out(caplog: pytest.LogCaptureFixture) -> None:
    seen = rates(BASE_LR=1.0, MAX_ITER=10, STEPS=(5, 10, 20), WARMUP_ITERS=0)
    assert seen[:10] == pytest.approx([1.0] * 5 + [0.1] * 5)


def test_groups_keep_their_ratio_and_state_comes_back() -> None:
    cfg = get_cfg()
    cfg.SOLVER.MAX_ITER = 30

    def make() -> tuple[torch.optim.Optimizer, Any]:
        groups = [{"params": [torch.nn.Parameter(torch.zeros(1))], "lr": rate} for rate in (0.1, 0.2)]
        optimizer = torch.optim.SGD(groups, lr=0.1)
        return optimizer, build_lr_scheduler(cfg, optimizer)

    optimizer, scheduler = make()
    for _ in range(17):
        optimizer.step()
        scheduler.step()
        first, second = (group["lr"] for group in optimizer.param_groups)
        assert second == pytest.approx(2 * first)
    other, again = make()
    other.load_state_dict(optimizer.state_dict())
    again.load_state_dict(scheduler.state_dict())
    for one, schedule in ((other, again), (optimizer, scheduler)):
        one.step()
        schedule.step()
    assert [g["lr"] for g in other.param_groups] == [g["lr"] for g in optimizer.param_groups]


def test_multiplier_refuses_other_schedules() -> None:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    with pytest.raises(ValueError, match="needs an fvcore ParamScheduler"):
        LRMultiplier(optimizer, lambda where: where, 10)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("solver", "message"),
    [
        ({"LR_SCHEDULER_NAME": "Cosine"}, "LR_SCHEDULER_NAME is 'Cosine', which is unknown"),
        ({"MAX_ITER": 0}, "MAX_ITER is 0: set it to 1 or more"),
        ({"STEPS": (20, 10), "MAX_ITER": 30}, "each above the one before"),
        ({"WARMUP_METHOD": "exp"}, "use linear or constant"),
        ({"LR_SCHEDULER_NAME": "WarmupCosineLR", "BASE_LR_END": 1.0}, "set it between 0 and SOLVER.BASE_LR"),
        ({"LR_SCHEDULER_NAME": "WarmupStepWithFixedGammaLR", "NUM_DECAYS": 0}, "can't be used"),
    ],
)
def test_bad_values_are_named(solver: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigValueError, match=message):
        rates(**solver)


def test_scaling_to_other_worker_counts() -> None:
    cfg = get_cfg()
    assert auto_scale_workers(cfg, 4) is cfg
    cfg.SOLVER.IMS_PER_BATCH, cfg.SOLVER.BASE_LR, cfg.SOLVER.REFERENCE_WORLD_SIZE = 16, 0.1, 8
    cfg.SOLVER.MAX_ITER, cfg.SOLVER.STEPS, cfg.SOLVER.CHECKPOINT_PERIOD = 5000, (4000,), 1000
    cfg.TEST.EVAL_PERIOD = 500
    cfg.freeze()
    scaled = auto_scale_workers(cfg, 16)
    assert scaled.is_frozen()
    solver = scaled.SOLVER
    assert (solver.IMS_PER_BATCH, solver.BASE_LR, solver.MAX_ITER, solver.STEPS) == (32, 0.2, 2500, (2000,))
    assert (solver.CHECKPOINT_PERIOD, scaled.TEST.EVAL_PERIOD, solver.REFERENCE_WORLD_SIZE) == (500, 250, 16)
    assert cfg.SOLVER.IMS_PER_BATCH == 16


@pytest.mark.parametrize("rescale", [False, True])
def test_fixed_gamma_ends_at_its_last_rate(rescale: bool) -> None:
    settings: dict[str, Any] = {"BASE_LR": 1.0, "MAX_ITER": 40, "NUM_DECAYS": 3, "GAMMA": 0.5}
    seen = rates(
        LR_SCHEDULER_NAME="WarmupStepWithFixedGammaLR", WARMUP_ITERS=8, RESCALE_INTERVAL=rescale, **settings
    )
    start, length = (8, 32) if rescale else (0, 40)
    expected = [0.5 ** ((iteration - start) * 4 // length) for iteration in range(9, 40)]
    assert seen[9:40] == pytest.approx(expected)
    assert seen[40] == seen[39]


def test_a_fixed_gamma_scheduler_by_hand_has_no_rate_after_the_last_iteration() -> None:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    schedule = StepWithFixedGammaParamScheduler(base_value=1.0, gamma=0.1, num_decays=1, num_updates=4)
    scheduler = LRMultiplier(optimizer, schedule, 4)
    for _ in range(3):
        optimizer.step()
        scheduler.step()
    with pytest.raises(IndexError):
        scheduler.step()


def older(kind: type[Any], iterations: int, *args: Any, **settings: Any) -> list[float]:
    """The learning rates that a scheduler built by hand gives."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.2)
    scheduler = kind(optimizer, *args, **settings)
    seen = []
    for _ in range(iterations):
        seen.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return seen


@pytest.mark.parametrize("method", ["linear", "constant"])
def test_older_schedules_multiply_their_warmup(method: str) -> None:
    settings = {"warmup_factor": 0.1, "warmup_iters": 4, "warmup_method": method}
    ramp = [0.1, 0.325, 0.55, 0.775] if method == "linear" else [0.1] * 4
    factors = ramp + [1.0] * 16
    steps = older(WarmupMultiStepLR, 20, [2, 10], 0.5, **settings)
    assert steps == pytest.approx(
        [0.2 * factor * 0.5 ** ((i >= 2) + (i >= 10)) for i, factor in enumerate(factors)]
    )
    cosine = older(WarmupCosineLR, 20, 20, **settings)
    assert cosine == pytest.approx(
        [0.1 * factor * (1 + math.cos(math.pi * i / 20)) for i, factor in enumerate(factors)]
    )


def test_older_schedules_refuse_what_they_cannot_do() -> None:
    with pytest.raises(ConfigValueError, match=r"milestones \[5, 2\] must ascend"):
        older(WarmupMultiStepLR, 1, [5, 2])
    with pytest.raises(ConfigValueError, match="warm-up method 'ramp' is unknown"):
        older(WarmupCosineLR, 1, 10, warmup_method="ramp")


def test_random_settings_follow_the_closed_form() -> None:
    seed = random.randrange(10**6)
    print("seed", seed)
    draw = random.Random(seed)
    for _ in range(20):
        length = draw.randint(20, 120)
        steps = tuple(sorted(draw.sample(range(1, length), draw.randint(0, 4))))
        warmup, factor, rescale = draw.randint(0, length - 1), draw.random(), draw.random() < 0.5
        gamma, base, method = (
            draw.uniform(0.1, 0.9),
            draw.uniform(0.001, 1),
            draw.choice(["linear", "constant"]),
        )
        seen = rates(
            BASE_LR=base,
            MAX_ITER=length,
            STEPS=steps,
            GAMMA=gamma,
            WARMUP_ITERS=warmup,
            WARMUP_FACTOR=factor,
            WARMUP_METHOD=method,
            RESCALE_INTERVAL=rescale,
        )

        def decayed(position: float, steps: tuple[int, ...] = steps, gamma: float = gamma) -> float:
            return float(gamma ** sum(position >= step - 1e-6 for step in steps))

        end = 1.0 if rescale else decayed(warmup)
        for iteration in range(length):
            if iteration < warmup:
                ramp = factor + (end - factor) * iteration / warmup
                expected = ramp if method == "linear" else factor
            elif rescale:
                expected = decayed(int((iteration - warmup) * length / (length - warmup) + 1e-4))
            else:
                expected = decayed(iteration)
            # fvcore counts the first iteration after the warm-up as its last where rounding says so.
            if iteration != warmup:
                assert seen[iteration] == pytest.approx(base * expected, rel=1e-6), iteration
