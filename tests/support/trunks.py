"""Trunks of each kind, and what tests do with them."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from cardamage.modeling.batch import force_fixed_shapes
from cardamage.utils.events import EventStorage

__all__ = ["CONVNEXT", "LRN", "SMALL", "VGG", "randomize", "step"]

VGG = {"MODEL.BACKBONE.NAME": "build_vgg_fpn_backbone"}
CONVNEXT = {"MODEL.BACKBONE.NAME": "build_convnext_fpn_backbone"}
# The smallest of each kind, with blocks of ConvNeXt that do something from the beginning.
SMALL: dict[str, dict[str, Any]] = {
    "vgg": {**VGG, "MODEL.VGG.DEPTH": 11},
    "vgg_bn": {**VGG, "MODEL.VGG.DEPTH": 11, "MODEL.VGG.NORM": "BN"},
    "convnext": {**CONVNEXT, "MODEL.CONVNEXT.LAYER_SCALE": 0.5, "MODEL.CONVNEXT.DROP_PATH": 0.0},
}
LRN = {"MODEL.BACKBONE.STEM_LRN.ENABLED": True, "MODEL.BACKBONE.STEM_LRN.ALPHA": 0.5}


@torch.no_grad()
def randomize(model: nn.Module) -> None:
    """Give each normalization and scale values of its own, so that its place matters."""
    for name, value in model.state_dict().items():
        if name.endswith("running_var"):
            value.uniform_(0.5, 1.5)
        elif value.dim() == 1 and value.is_floating_point():
            value.add_(torch.randn_like(value) * 0.1)
        elif name.endswith("layer_scale"):
            value.normal_(0, 0.5)


def step(model: nn.Module, batch: list[Any], dtype: torch.dtype | None = None) -> Any:
    """Return the losses and gradients of one training step, in autocast where a dtype is given."""
    torch.manual_seed(1)
    model.zero_grad()
    with force_fixed_shapes(True), EventStorage(0):
        with torch.autocast("cpu", dtype or torch.bfloat16, enabled=dtype is not None):
            losses = model(batch)
        sum(losses.values()).backward()
    return losses, {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
