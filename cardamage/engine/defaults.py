"""What most runs use, under Detectron2's module path."""

from __future__ import annotations

from cardamage.engine.arguments import default_argument_parser
from cardamage.engine.default_trainer import DefaultTrainer
from cardamage.engine.predictor import DefaultPredictor
from cardamage.engine.setup import create_ddp_model, default_setup, default_writers

__all__ = [
    "DefaultPredictor",
    "DefaultTrainer",
    "create_ddp_model",
    "default_argument_parser",
    "default_setup",
    "default_writers",
]
