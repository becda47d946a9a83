"""The trainers and their hooks' base, under Detectron2's module path."""

from __future__ import annotations

from cardamage.engine.simple_trainer import AMPTrainer, SimpleTrainer
from cardamage.engine.trainer_base import HookBase, TrainerBase

__all__ = ["AMPTrainer", "HookBase", "SimpleTrainer", "TrainerBase"]
