"""Training: the loop, its hooks, starting processes, predictors.

Names are imported when first used, so that a command's ``--help`` doesn't wait for torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cardamage.engine import hooks
    from cardamage.engine.arguments import default_argument_parser
    from cardamage.engine.default_trainer import DefaultTrainer
    from cardamage.engine.launching import DEFAULT_TIMEOUT, launch
    from cardamage.engine.predictor import DefaultPredictor
    from cardamage.engine.setup import create_ddp_model, default_setup, default_writers
    from cardamage.engine.simple_trainer import AMPTrainer, SimpleTrainer
    from cardamage.engine.trainer_base import HookBase, TrainerBase

__all__ = [
    "DEFAULT_TIMEOUT",
    "AMPTrainer",
    "DefaultPredictor",
    "DefaultTrainer",
    "HookBase",
    "SimpleTrainer",
    "TrainerBase",
    "create_ddp_model",
    "default_argument_parser",
    "default_setup",
    "default_writers",
    "hooks",
    "launch",
]

_HOMES = {
    "AMPTrainer": "simple_trainer",
    "DEFAULT_TIMEOUT": "launching",
    "DefaultPredictor": "predictor",
    "DefaultTrainer": "default_trainer",
    "HookBase": "trainer_base",
    "SimpleTrainer": "simple_trainer",
    "TrainerBase": "trainer_base",
    "create_ddp_model": "setup",
    "default_argument_parser": "arguments",
    "default_setup": "setup",
    "default_writers": "setup",
    "launch": "launching",
}


def __getattr__(name: str) -> Any:
    if name == "hooks":
        return importlib.import_module("cardamage.engine.hooks")
    if name in _HOMES:
        value = getattr(importlib.import_module(f"cardamage.engine.{_HOMES[name]}"), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
