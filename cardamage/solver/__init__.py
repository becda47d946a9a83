"""Optimizers, learning-rate schedules and weight averaging."""

from __future__ import annotations

from cardamage.solver.build import build_lr_scheduler, build_optimizer
from cardamage.solver.clipping import maybe_add_gradient_clipping
from cardamage.solver.ema import ModelEMA
from cardamage.solver.lr_scheduler import (
    LRMultiplier,
    LRScheduler,
    WarmupCosineLR,
    WarmupMultiStepLR,
    WarmupParamScheduler,
)
from cardamage.solver.param_groups import get_default_optimizer_params, reduce_param_groups
from cardamage.solver.scaling import auto_scale_workers

__all__ = [
    "LRMultiplier",
    "LRScheduler",
    "ModelEMA",
    "WarmupCosineLR",
    "WarmupMultiStepLR",
    "WarmupParamScheduler",
    "auto_scale_workers",
    "build_lr_scheduler",
    "build_optimizer",
    "get_default_optimizer_params",
    "maybe_add_gradient_clipping",
    "reduce_param_groups",
]
