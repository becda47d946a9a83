"""Optimizer and learning-rate schedule from a config."""

from __future__ import annotations

import logging

import torch
from fvcore.common.param_scheduler import (
    CosineParamScheduler,
    MultiStepParamScheduler,
    ParamScheduler,
    StepWithFixedGammaParamScheduler,
)
from torch import nn

from cardamage.config import CfgNode
from cardamage.errors import ConfigValueError
from cardamage.solver.clipping import GradientClipType, maybe_add_gradient_clipping
from cardamage.solver.fusing import keep_kernel, kernel_choice
from cardamage.solver.lr_scheduler import LRMultiplier, LRScheduler, WarmupParamScheduler
from cardamage.solver.param_groups import (
    expand_param_groups,
    get_default_optimizer_params,
    reduce_param_groups,
)

__all__ = [
    "GradientClipType",
    "build_lr_scheduler",
    "build_optimizer",
    "get_default_optimizer_params",
    "maybe_add_gradient_clipping",
    "reduce_param_groups",
]

logger = logging.getLogger(__name__)

# Detectron2's name, which optimizers written for it import from here.
_expand_param_groups = expand_param_groups


def build_optimizer(cfg: CfgNode, model: nn.Module) -> torch.optim.Optimizer:
    """Build SGD with momentum over the model's trainable parameters.

    Args:
        cfg: the full config; ``SOLVER`` is read.
        model: the model.

    Returns:
        The optimizer, clipping gradients where ``SOLVER.CLIP_GRADIENTS`` asks for it.

    Raises:
        ConfigValueError: if nothing in the model is trainable, or a solver value can't be used.
    """
    solver = cfg.SOLVER
    groups = get_default_optimizer_params(
        model,
        base_lr=solver.BASE_LR,
        weight_decay_norm=solver.WEIGHT_DECAY_NORM,
        bias_lr_factor=solver.BIAS_LR_FACTOR,
        weight_decay_bias=solver.WEIGHT_DECAY_BIAS,
    )
    if not groups:
        raise ConfigValueError("The model has no trainable parameter: lower MODEL.BACKBONE.FREEZE_AT.")
    try:
        optimizer = torch.optim.SGD(
            groups,
            lr=solver.BASE_LR,
            momentum=solver.MOMENTUM,
            nesterov=solver.NESTEROV,
            weight_decay=solver.WEIGHT_DECAY,
            **kernel_choice(solver.FUSED, groups),
        )
    except ValueError as error:
        raise ConfigValueError(f"SOLVER holds a value that SGD can't use: {error}.") from error
    keep_kernel(optimizer)
    return maybe_add_gradient_clipping(cfg, optimizer)


def build_lr_scheduler(cfg: CfgNode, optimizer: torch.optim.Optimizer) -> LRScheduler:
    """Build the learning-rate schedule that ``SOLVER.LR_SCHEDULER_NAME`` names, with its warm-up.

    Args:
        cfg: the full config; ``SOLVER`` is read.
        optimizer: the optimizer whose groups it drives.

    Returns:
        A scheduler to step once an iteration.

    Raises:
        ConfigValueError: if the name or a value of the schedule can't be used.
    """
    solver = cfg.SOLVER
    if solver.MAX_ITER < 1:
        raise ConfigValueError(f"SOLVER.MAX_ITER is {solver.MAX_ITER}: set it to 1 or more.")
    builders = {
        "WarmupMultiStepLR": _multi_step,
        "WarmupCosineLR": _cosine,
        "WarmupStepWithFixedGammaLR": _fixed_gamma,
    }
    if solver.LR_SCHEDULER_NAME not in builders:
        raise ConfigValueError(
            f"SOLVER.LR_SCHEDULER_NAME is {solver.LR_SCHEDULER_NAME!r}, which is unknown: "
            f"use one of {', '.join(builders)}."
        )
    schedule = WarmupParamScheduler(
        builders[solver.LR_SCHEDULER_NAME](solver),
        solver.WARMUP_FACTOR,
        min(solver.WARMUP_ITERS / solver.MAX_ITER, 1.0),
        solver.WARMUP_METHOD,
        solver.RESCALE_INTERVAL,
    )
    return LRMultiplier(optimizer, schedule, solver.MAX_ITER)


def _multi_step(solver: CfgNode) -> ParamScheduler:
    steps = [step for step in solver.STEPS if step < solver.MAX_ITER]
    if len(steps) < len(solver.STEPS):
        logger.warning(
            "SOLVER.STEPS %s reach past SOLVER.MAX_ITER %d: those are left out.",
            tuple(solver.STEPS),
            solver.MAX_ITER,
        )
    if any(later <= earlier for earlier, later in zip([0, *steps], steps, strict=False)):
        raise ConfigValueError(
            f"SOLVER.STEPS is {tuple(solver.STEPS)}: list iterations above 0, each above the one before."
        )
    values = [solver.GAMMA**power for power in range(len(steps) + 1)]
    return MultiStepParamScheduler(values=values, milestones=steps, num_updates=solver.MAX_ITER)


def _cosine(solver: CfgNode) -> ParamScheduler:
    end = solver.BASE_LR_END / solver.BASE_LR
    if not 0.0 <= end <= 1.0:
        raise ConfigValueError(
            f"SOLVER.BASE_LR_END is {solver.BASE_LR_END}: "
            f"set it between 0 and SOLVER.BASE_LR {solver.BASE_LR}."
        )
    return CosineParamScheduler(1.0, end)


class _FixedGamma(StepWithFixedGammaParamScheduler):
    """Holds the last rate at the end of training, where fvcore's has none; the last iteration steps there."""

    def __call__(self, where: float) -> float:
        return float(super().__call__(min(where, 1.0 - 0.5 / self.num_updates)))


def _fixed_gamma(solver: CfgNode) -> ParamScheduler:
    try:
        return _FixedGamma(
            base_value=1.0, gamma=solver.GAMMA, num_decays=solver.NUM_DECAYS, num_updates=solver.MAX_ITER
        )
    except ValueError as error:
        raise ConfigValueError(f"SOLVER.GAMMA or SOLVER.NUM_DECAYS can't be used: {error}.") from error
