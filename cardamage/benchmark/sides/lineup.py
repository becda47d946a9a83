"""Which sides take part where, all with the same weights."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from types import ModuleType
from typing import Any

import torch

from cardamage.benchmark.machine import is_importable
from cardamage.benchmark.measuring import Maker
from cardamage.benchmark.settings import AMP, PLAIN, Settings
from cardamage.benchmark.sides.floor import low_precision
from cardamage.config import CfgNode

__all__ = ["Lineup", "own_of", "peers_of"]

Samples = Sequence[dict[str, Any]]
Lineup = dict[str, tuple[str, Maker]]


def own_of(
    make: Callable[..., Any], settings: Settings, samples: Samples, cfg: CfgNode, train: bool
) -> Lineup:
    """Return cardamage as its commands run it, and plain.

    A training has lower precision where the config says so; here, wherever the device has one.

    Args:
        make: of :mod:`cardamage.benchmark.sides.own`.
        settings: what all sides share.
        samples: the photos.
        cfg: the config, with weights.
        train: whether it is a training.
    """
    weights = ("MODEL.WEIGHTS", cfg.MODEL.WEIGHTS)
    kinds: dict[str, tuple[Any, ...]] = {"cardamage": ()}
    if train and low_precision(settings.device) is not None:
        kinds = {"cardamage": AMP, "cardamage, AMP off": ("SOLVER.AMP.ENABLED", False)}
    kinds["cardamage, plain float32"] = PLAIN
    return {
        name: ("own", partial(make, name, settings, samples, (*weights, *keys)))
        for name, keys in kinds.items()
    }


def peers_of(kind: str, settings: Settings, samples: Samples, cfg: CfgNode) -> Lineup:
    """Return Detectron2 where it is installed, and torchvision; on a GPU in float16 as well.

    Args:
        kind: ``training_side`` or ``inference_side``.
        settings: what all sides share.
        samples: the photos.
        cfg: the config, with weights.
    """
    from cardamage.benchmark.sides import theirs_torchvision

    modules: dict[str, ModuleType] = {}
    if is_importable("detectron2"):
        from cardamage.benchmark.sides import theirs_detectron2

        modules["Detectron2"] = theirs_detectron2
    modules["torchvision"] = theirs_torchvision
    precisions: dict[str, torch.dtype | None] = {"float32": None}
    if settings.device.type == "cuda":
        precisions["float16 AMP"] = torch.float16
    return {
        f"{project}, {title}": (
            "peer",
            partial(getattr(module, kind), f"{project}, {title}", settings, samples, cfg, precision),
        )
        for project, module in modules.items()
        for title, precision in precisions.items()
    }
