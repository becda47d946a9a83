"""Training: the loop, its hooks, starting processes, predictors.

Names are imported when first used, so that a command's ``--help`` doesn't wait for torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

# Bound here, and so over the module of the same name, as in Detectron2: ``engine.launch`` is the function.
from cardamage.engine.launch import DEFAULT_TIMEOUT, launch

if TYPE_CHECKING:
    from cardamage.engine import defaults, hooks, train_loop
    from cardamage.engine.arguments import default_argument_parser
    from cardamage.engine.default_trainer import DefaultTrainer
    from cardamage.engine.hooks import (
        AutogradProfiler,
        BestCheckpointer,
        CallbackHook,
        EvalHook,
        IterationTimer,
        LRScheduler,
        PeriodicCheckpointer,
        PeriodicWriter,
        PreciseBN,
        TorchMemoryStats,
        TorchProfiler,
    )
    from cardamage.engine.predictor import DefaultPredictor
    from cardamage.engine.setup import create_ddp_model, default_setup, default_writers
    from cardamage.engine.simple_trainer import AMPTrainer, SimpleTrainer
    from cardamage.engine.trainer_base import HookBase, TrainerBase

__all__ = [
    "DEFAULT_TIMEOUT",
    "AMPTrainer",
    "AutogradProfiler",
    "BestCheckpointer",
    "CallbackHook",
    "DefaultPredictor",
    "DefaultTrainer",
    "EvalHook",
    "HookBase",
    "IterationTimer",
    "LRScheduler",
    "PeriodicCheckpointer",
    "PeriodicWriter",
    "PreciseBN",
    "SimpleTrainer",
    "TorchMemoryStats",
    "TorchProfiler",
    "TrainerBase",
    "create_ddp_model",
    "default_argument_parser",
    "default_setup",
    "default_writers",
    "defaults",
    "hooks",
    "launch",
    "train_loop",
]

_MODULES = ("defaults", "hooks", "train_loop")
_HOMES = {
    "AMPTrainer": "simple_trainer",
    "DefaultPredictor": "predictor",
    "DefaultTrainer": "default_trainer",
    "HookBase": "trainer_base",
    "SimpleTrainer": "simple_trainer",
    "TrainerBase": "trainer_base",
    "create_ddp_model": "setup",
    "default_argument_parser": "arguments",
    "default_setup": "setup",
    "default_writers": "setup",
}


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return importlib.import_module(f"cardamage.engine.{name}")
    if name in __all__:
        value = getattr(importlib.import_module(f"cardamage.engine.{_HOMES.get(name, 'hooks')}"), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
