"""The registry of whole models."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from cardamage.modeling.registry import Registry

__all__ = ["META_ARCH_REGISTRY", "build_model"]

META_ARCH_REGISTRY = Registry("META_ARCH", "MODEL.META_ARCHITECTURE")
META_ARCH_REGISTRY.__doc__ = "Callables ``(cfg) -> module``, chosen by ``MODEL.META_ARCHITECTURE``."


def build_model(cfg: Any) -> nn.Module:
    """Build the model that ``cfg.MODEL.META_ARCHITECTURE`` names, with random weights.

    Args:
        cfg: the config tree.

    Returns:
        The model on ``cfg.MODEL.DEVICE``, in training mode.
    """
    model = META_ARCH_REGISTRY.get(cfg.MODEL.META_ARCHITECTURE)(cfg)
    model.to(torch.device(cfg.MODEL.DEVICE))
    if cfg.MODEL.CHANNELS_LAST:
        model.to(memory_format=torch.channels_last)
    return model
