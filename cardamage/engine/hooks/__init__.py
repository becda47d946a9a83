"""The hooks that come with the trainers."""

from __future__ import annotations

from cardamage.engine.hooks.basic import CallbackHook, IterationTimer
from cardamage.engine.hooks.checkpointing import BestCheckpointer, PeriodicCheckpointer
from cardamage.engine.hooks.evaluation import EvalHook, PreciseBN, ValidationLoss
from cardamage.engine.hooks.loading import LoaderWatch
from cardamage.engine.hooks.profiling import AutogradProfiler, TorchMemoryStats, TorchProfiler
from cardamage.engine.hooks.schedule import EMAHook, LRScheduler
from cardamage.engine.hooks.stopping import StopOnSignal
from cardamage.engine.hooks.writing import PeriodicWriter, PlotHook, ProgressBar
from cardamage.engine.trainer_base import HookBase

__all__ = [
    "AutogradProfiler",
    "BestCheckpointer",
    "CallbackHook",
    "EMAHook",
    "EvalHook",
    "HookBase",
    "IterationTimer",
    "LRScheduler",
    "LoaderWatch",
    "PeriodicCheckpointer",
    "PeriodicWriter",
    "PlotHook",
    "PreciseBN",
    "ProgressBar",
    "StopOnSignal",
    "TorchMemoryStats",
    "TorchProfiler",
    "ValidationLoss",
]
