"""Detectron2's trainer with cardamage's config keys carried out."""

from __future__ import annotations

import os
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from detectron2.config import CfgNode as UpstreamNode
from detectron2.data import MetadataCatalog, build_detection_train_loader
from detectron2.engine import DefaultTrainer, hooks
from detectron2.evaluation import (
    CityscapesInstanceEvaluator,
    COCOEvaluator,
    DatasetEvaluator,
    LVISEvaluator,
)
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from cardamage.config import CfgNode
from cardamage.data.annotations.sides import log_sides
from cardamage.engine.setup import amp_precision
from cardamage.errors import ConfigError
from cardamage.modeling.meta_arch.build import uses_channels_last
from cardamage.modeling.roi_heads.detection import Suppression
from cardamage.solver import ModelEMA

from .checkpointing import BEST, ExchangeCheckpointer
from .hooks import BestCheckpointer, EMAHook
from .mapper import SidedMapper
from .soft_nms import use_suppression

__all__ = ["BackendTrainer", "RunPlan", "trainer_class"]


@dataclass(frozen=True)
class RunPlan:
    """What of a run Detectron2's config can't hold.

    Attributes:
        cfg: cardamage's config.
        thing_classes: class names of the data, for the checkpoints.
        tasks: for each test dataset the tasks that can be scored; None leaves it to what is predicted.
        best_metric: what picks the best checkpoint; empty where none is kept.
    """

    cfg: CfgNode
    thing_classes: list[str]
    tasks: dict[str, tuple[str, ...] | None] = field(default_factory=dict)
    best_metric: str = ""


def trainer_class(plan: RunPlan) -> type[BackendTrainer]:
    """Return the trainer of one run, whose class methods read the plan."""
    return type("Trainer", (BackendTrainer,), {"plan": plan})


class BackendTrainer(DefaultTrainer):
    """Detectron2's ``DefaultTrainer``; see its documentation for the attributes."""

    plan: ClassVar[RunPlan]
    ema: ModelEMA | None
    checkpointer: Any

    def __init__(self, cfg: UpstreamNode) -> None:
        """Build everything.

        Args:
            cfg: Detectron2's config.
        """
        super().__init__(cfg)
        # Without a choice of the user's, Detectron2's own: float16.
        if cfg.SOLVER.AMP.ENABLED and self.plan.cfg.SOLVER.AMP.DTYPE != "auto":
            self._trainer.precision = amp_precision(self.plan.cfg, on_gpu=True)

    @classmethod
    def build_model(cls, cfg: UpstreamNode) -> nn.Module:
        """Return Detectron2's model, with the suppression and memory layout of cardamage's config.

        Raises:
            ConfigError: if soft-NMS is asked of a model that has no boxes to suppress.
        """
        model = super().build_model(cfg)
        own = cls.plan.cfg
        suppression = Suppression.from_config(own)
        if suppression.by_masks:
            raise ConfigError(
                f"MODEL.ROI_HEADS.NMS_TYPE is {suppression.kind!r}, which Detectron2's models can't do: "
                "choose a kind that compares boxes, or leave out --backend detectron2."
            )
        own_way = suppression.kind != "hard" or suppression.class_agnostic
        if own_way and not use_suppression(model, suppression):
            raise ConfigError(
                f"MODEL.ROI_HEADS.NMS_TYPE is {suppression.kind!r} and NMS_CLASS_AGNOSTIC is "
                f"{suppression.class_agnostic}, but Detectron2's {cfg.MODEL.META_ARCHITECTURE} has no box "
                "predictor that they could apply to: set them to hard and False."
            )
        return model.to(memory_format=torch.channels_last) if uses_channels_last(own) else model

    @classmethod
    def build_train_loader(cls, cfg: UpstreamNode) -> Any:
        """Return Detectron2's training loader, with classes that mirrored pictures exchange."""
        if cfg.INPUT.RANDOM_FLIP != "none":
            log_sides(cls.plan.cfg)
        return build_detection_train_loader(cfg, mapper=SidedMapper(cfg, True))

    @classmethod
    def build_evaluator(cls, cfg: UpstreamNode, dataset_name: str) -> DatasetEvaluator:
        """Return Detectron2's evaluator of a test dataset: COCO's, unless it is LVIS or Cityscapes."""
        folder = os.path.join(cfg.OUTPUT_DIR, "inference")
        kind = MetadataCatalog.get(dataset_name).get("evaluator_type", "coco")
        if kind == "lvis":
            return LVISEvaluator(dataset_name, output_dir=folder)
        if kind == "cityscapes_instance":
            return CityscapesInstanceEvaluator(dataset_name)
        return COCOEvaluator(dataset_name, tasks=cls.plan.tasks.get(dataset_name), output_dir=folder)

    def build_hooks(self) -> list[Any]:
        """Return Detectron2's hooks, and among them those of the averaged weights and the best checkpoint."""
        self._exchange_checkpointer()
        result = [self._adapted(hook) for hook in super().build_hooks()]
        if self.ema is not None:
            # Right behind the schedule: what saves and evaluates comes later.
            place = next(i for i, hook in enumerate(result) if isinstance(hook, hooks.LRScheduler))
            result.insert(place + 1, EMAHook(self.ema))
        best = self.plan.cfg.TEST.BEST_CHECKPOINT
        if self.plan.best_metric:
            keeper = BestCheckpointer(
                self.cfg.TEST.EVAL_PERIOD, self.checkpointer, self.plan.best_metric, best.MODE, BEST
            )
            place = next(i for i, hook in enumerate(result) if isinstance(hook, hooks.EvalHook))
            result.insert(place + 1, keeper)
        return result

    def _exchange_checkpointer(self) -> None:
        """Replace the checkpointer before any hook holds it."""
        inner = self.model.module if isinstance(self.model, DistributedDataParallel) else self.model
        own = self.plan.cfg.SOLVER.EMA
        self.ema = ModelEMA(inner, own.DECAY) if own.ENABLED else None
        parts: dict[str, Any] = dict(self.checkpointer.checkpointables)
        if self.ema is not None:
            parts["ema"] = self.ema
        self.checkpointer = ExchangeCheckpointer(
            self.model, self.cfg.OUTPUT_DIR, thing_classes=self.plan.thing_classes, **parts
        )

    def _adapted(self, hook: Any) -> Any:
        if isinstance(hook, hooks.PeriodicWriter):
            return hooks.PeriodicWriter(hook._writers, self.plan.cfg.WRITER_PERIOD)
        if isinstance(hook, hooks.EvalHook):
            return hooks.EvalHook(self.cfg.TEST.EVAL_PERIOD, self._evaluate)
        return hook

    def _evaluate(self) -> dict[str, Any]:
        with nullcontext() if self.ema is None else self.ema.applied():
            self._last_eval_results = self.test(self.cfg, self.model)
        return self._last_eval_results

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue a training; one that ran in full precision has no loss scale to take over."""
        inner = dict(state_dict["_trainer"])
        scaler = getattr(self._trainer, "grad_scaler", None)
        if scaler is not None and not inner.get("grad_scaler"):
            inner["grad_scaler"] = scaler.state_dict()
        super().load_state_dict({**state_dict, "_trainer": inner})
