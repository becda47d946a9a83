"""cardamage, through what ``train_net.py`` and scripts use: ``DefaultTrainer`` and ``DefaultPredictor``."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import repeat
from typing import Any

import numpy as np

from cardamage.benchmark.device import BackendFlags
from cardamage.benchmark.settings import Pairs, Settings
from cardamage.benchmark.sides.side import Side, counts
from cardamage.config import CfgNode
from cardamage.engine import DefaultPredictor, DefaultTrainer, default_setup
from cardamage.utils.events import EventStorage

__all__ = ["inference_side", "rcnn_parts", "training_side"]

Samples = Sequence[dict[str, Any]]


class _Trainer(DefaultTrainer):
    """Trains on one batch in memory, and leaves no files."""

    batch: list[dict[str, Any]]

    @classmethod
    def build_train_loader(cls, cfg: CfgNode) -> Any:
        return repeat(cls.batch)

    def build_hooks(self) -> list[Any]:
        return []

    def build_files_loader(self) -> Any:
        return super().build_train_loader(self.cfg)


def training_side(name: str, settings: Settings, samples: Samples, overrides: Pairs = ()) -> Side:
    """Return the step of a training.

    Args:
        name: how to call it.
        settings: what all sides share.
        samples: the batch.
        overrides: keys and values that go over the config's.
    """
    cfg = settings.config(overrides, output=name.replace(" ", "_"))
    default_setup(cfg, argparse.Namespace(eval_only=False))
    kind = type("Trainer", (_Trainer,), {"batch": list(samples)})
    trainer = kind(cfg)
    trainer.resume_or_load(resume=False)
    loop = _Loop(trainer)
    model = trainer.model
    return Side(
        name,
        loop.step,
        len(samples),
        root=model,
        parts=lambda: rcnn_parts(model),
        optimizer=trainer.optimizer,
        with_loader=loop.with_loader,
        flags=BackendFlags.now(),
    )


def rcnn_parts(model: Any) -> dict[str, Any]:
    """Return the parts of a model with Detectron2's names, by what the table calls them."""
    return {"trunk": model.backbone, "RPN": model.proposal_generator, "ROI heads": model.roi_heads}


class _Loop:
    """Steps of a trainer outside of its ``train``, which would write and evaluate."""

    def __init__(self, trainer: Any) -> None:
        self.trainer = trainer
        self.storage = EventStorage(0)
        trainer.storage = self.storage
        trainer.iter = 0

    def step(self) -> None:
        with self.storage:
            self.trainer.before_step()
            self.trainer.run_step()
            self.storage.step()
        self.trainer.iter += 1

    @contextmanager
    def with_loader(self) -> Iterator[None]:
        inner = self.trainer._trainer
        inner.reset_data_loader(self.trainer.build_files_loader)
        try:
            yield
        finally:
            inner.reset_data_loader(lambda: repeat(self.trainer.batch))


def inference_side(name: str, settings: Settings, samples: Samples, overrides: Pairs = ()) -> Side:
    """Return the prediction, to masks of the pictures' size; arguments as for :func:`training_side`."""
    predictor = DefaultPredictor(settings.config(overrides))
    pictures = [_picture(sample, predictor.input_format) for sample in samples]
    return Side(
        name,
        lambda: predictor(pictures),
        len(samples),
        root=predictor.model,
        parts=lambda: rcnn_parts(predictor.model),
        detections=counts,
        flags=BackendFlags.now(),
    )


def _picture(sample: dict[str, Any], image_format: str) -> np.ndarray:
    """Return (H, W, 3) BGR, as scripts hand it to a predictor."""
    picture = sample["image"].permute(1, 2, 0).numpy()
    return np.ascontiguousarray(picture[:, :, ::-1] if image_format == "RGB" else picture)
