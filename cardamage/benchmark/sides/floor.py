"""What no Mask R-CNN of the config can be faster than: its trunk alone."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch

from cardamage.benchmark.device import precision_of
from cardamage.benchmark.measuring import Maker
from cardamage.benchmark.settings import Settings
from cardamage.benchmark.sides.side import Side
from cardamage.config import CfgNode
from cardamage.modeling import build_model
from cardamage.utils.env import cpu_has_bfloat16

__all__ = ["floors_of", "low_precision"]

Samples = Sequence[dict[str, Any]]


def low_precision(device: torch.device) -> torch.dtype | None:
    """Return the lower precision that a device multiplies faster in; None where it has none."""
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16
    return torch.bfloat16 if cpu_has_bfloat16() else None


def floors_of(
    settings: Settings, samples: Samples, cfg: CfgNode, train: bool
) -> dict[str, tuple[str, Maker]]:
    """Return the trunk in float32, and in lower precision with channels last; on a GPU compiled too.

    Args:
        settings: what all sides share.
        samples: the pictures.
        cfg: the config, with weights.
        train: whether with the backward pass, else forward alone.
    """
    low = low_precision(settings.device)
    kinds: dict[str, tuple[torch.dtype | None, bool]] = {"trunk only, float32": (None, False)}
    if low is not None:
        name = f"trunk only, {str(low).removeprefix('torch.')}"
        kinds[name] = (low, False)
        if settings.device.type == "cuda":
            kinds[f"{name}, compiled"] = (low, True)
    shared = (settings, samples, cfg, train)
    return {name: ("floor", partial(_trunk, name, *shared, *kind)) for name, kind in kinds.items()}


def _trunk(
    name: str,
    settings: Settings,
    samples: Samples,
    cfg: CfgNode,
    train: bool,
    dtype: torch.dtype | None = None,
    compiled: bool = False,
) -> Side:
    model: Any = build_model(cfg).train(train)
    images = model.preprocess_image(samples).tensor
    trunk = model.backbone
    if dtype is not None:
        trunk, images = (
            trunk.to(memory_format=torch.channels_last),
            images.to(memory_format=torch.channels_last),
        )
    if compiled:
        trunk = torch.compile(trunk)

    def run() -> None:
        with precision_of(settings.device, dtype), torch.set_grad_enabled(train):
            features = trunk(images)
        if train:
            torch.stack([feature.float().mean() for feature in features.values()]).sum().backward()
            trunk.zero_grad()

    return Side(name, run, len(samples), "floor")
