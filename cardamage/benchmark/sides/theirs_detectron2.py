"""Detectron2, with the same YAML and the same checkpoint, through its own loops."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from itertools import repeat
from typing import Any

import torch
from detectron2.checkpoint import DetectionCheckpointer
from detectron2.data import build_detection_train_loader
from detectron2.engine import AMPTrainer, SimpleTrainer
from detectron2.modeling import build_model
from detectron2.solver import build_optimizer
from detectron2.structures import BitMasks, Boxes, Instances, PolygonMasks
from detectron2.utils.events import EventStorage

from cardamage.benchmark.device import precision_of
from cardamage.benchmark.settings import Settings
from cardamage.benchmark.sides.own import rcnn_parts
from cardamage.benchmark.sides.side import Side, counts
from cardamage.config import CfgNode
from cardamage.engine.setup import prepare_classes
from cardamage.interop.config import to_upstream
from cardamage.interop.datasets import register_for_training
from cardamage.structures import PolygonMasks as OwnPolygonMasks

__all__ = ["build_loader", "build_with_weights", "inference_side", "to_detectron2", "training_side"]

Samples = Sequence[dict[str, Any]]


def build_with_weights(cfg: CfgNode) -> Any:
    """Return Detectron2's model of a config of ours, with the weights of ``MODEL.WEIGHTS``."""
    upstream = to_upstream(cfg)
    model = build_model(upstream)
    DetectionCheckpointer(model).load(upstream.MODEL.WEIGHTS)
    return model


def build_loader(cfg: CfgNode, folder: str) -> Any:
    """Return Detectron2's training loader over the config's photos.

    Args:
        cfg: the config.
        folder: for copies of pictures that lie within other files.
    """
    # Its dataset's checks are cardamage's, and no part of what is measured.
    own = cfg.clone()
    prepare_classes(own)
    for name in own.DATASETS.TRAIN:
        register_for_training(name, folder)
    return build_detection_train_loader(to_upstream(own))


def to_detectron2(samples: Samples) -> list[dict[str, Any]]:
    """Return samples with Detectron2's structures for the ground truth."""
    return [{**sample, "instances": _instances(sample["instances"])} for sample in samples]


def _instances(own: Any) -> Instances:
    masks = own.gt_masks
    polygons = isinstance(masks, OwnPolygonMasks)
    return Instances(
        own.image_size,
        gt_boxes=Boxes(own.gt_boxes.tensor.clone()),
        gt_classes=own.gt_classes.clone(),
        gt_masks=PolygonMasks(list(masks.polygons)) if polygons else BitMasks(masks.tensor),
    )


def training_side(
    name: str, settings: Settings, samples: Samples, cfg: CfgNode, precision: torch.dtype | None = None
) -> Side:
    """Return the step of a training.

    Args:
        name: how to call it.
        settings: what all sides share.
        samples: the batch.
        cfg: the config, with weights.
        precision: of its AMP; None for float32.
    """
    model = build_with_weights(cfg)
    optimizer = build_optimizer(to_upstream(cfg), model)
    batch = to_detectron2(samples)
    parts = (model, repeat(batch), optimizer)
    trainer: Any = AMPTrainer(*parts, precision=precision) if precision else SimpleTrainer(*parts)
    storage = EventStorage(0)
    trainer.iter = 0

    def step() -> None:
        with storage:
            trainer.run_step()
            storage.step()

    @contextlib.contextmanager
    def with_loader() -> Iterator[None]:
        trainer.reset_data_loader(lambda: build_loader(cfg, str(settings.scratch)))
        try:
            yield
        finally:
            trainer.reset_data_loader(lambda: repeat(batch))

    return Side(name, step, len(samples), "peer", model, lambda: rcnn_parts(model), optimizer, with_loader)


def inference_side(
    name: str, settings: Settings, samples: Samples, cfg: CfgNode, precision: torch.dtype | None = None
) -> Side:
    """Return the prediction, to masks of the pictures' size; arguments as for :func:`training_side`."""
    model = build_with_weights(cfg).eval()
    inputs = [
        {"image": s["image"], "height": s["image"].shape[1], "width": s["image"].shape[2]} for s in samples
    ]

    @torch.no_grad()
    def predict() -> Any:
        with precision_of(settings.device, precision):
            return model(inputs)

    return Side(name, predict, len(samples), "peer", model, lambda: rcnn_parts(model), detections=counts)
