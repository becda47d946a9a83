"""The registry of whole models."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from cardamage.errors import ConfigValueError
from cardamage.layers.color import ColorJitter
from cardamage.modeling.registry import Registry

from .preprocessing import ImageModel

__all__ = ["META_ARCH_REGISTRY", "build_model", "uses_channels_last"]

META_ARCH_REGISTRY = Registry("META_ARCH", "MODEL.META_ARCHITECTURE")
META_ARCH_REGISTRY.__doc__ = "Callables ``(cfg) -> module``, chosen by ``MODEL.META_ARCHITECTURE``."


def uses_channels_last(cfg: Any) -> bool:
    """Tell whether ``MODEL.CHANNELS_LAST`` asks for that layout.

    ``auto`` does where ``SOLVER.AMP`` is on: kernels of lower precision are made for it. float32 without it
    has the numbers that are compared with Detectron2's.
    """
    wanted = cfg.MODEL.CHANNELS_LAST
    return bool(cfg.SOLVER.AMP.ENABLED if wanted == "auto" else wanted)


def build_model(cfg: Any) -> nn.Module:
    """Build the model that ``cfg.MODEL.META_ARCHITECTURE`` names, with random weights.

    Args:
        cfg: the config tree.

    Returns:
        The model on ``cfg.MODEL.DEVICE``, in training mode.

    Raises:
        ConfigValueError: if colors are to be changed by a model that can't.
    """
    model = META_ARCH_REGISTRY.get(cfg.MODEL.META_ARCHITECTURE)(cfg)
    _set_color_jitter(model, cfg)
    model.to(torch.device(cfg.MODEL.DEVICE))
    if uses_channels_last(cfg):
        model.to(memory_format=torch.channels_last)
    return model


def _set_color_jitter(model: nn.Module, cfg: Any) -> None:
    """Have the model change its pictures' colors in training, as INPUT.COLOR says."""
    color = cfg.INPUT.COLOR
    if color.PROBABILITY == 0:
        return
    if not isinstance(model, ImageModel) or len(cfg.MODEL.PIXEL_MEAN) != 3:
        raise ConfigValueError(
            f"INPUT.COLOR needs a model of cardamage's own on pictures of three channels, which "
            f"MODEL.META_ARCHITECTURE {cfg.MODEL.META_ARCHITECTURE} with MODEL.PIXEL_MEAN "
            f"{list(cfg.MODEL.PIXEL_MEAN)} isn't: set INPUT.COLOR.PROBABILITY to 0."
        )
    ranges = (color.BRIGHTNESS, color.CONTRAST, color.SATURATION, color.HUE)
    model.color_jitter = ColorJitter(color.PROBABILITY, *ranges, reverse=cfg.INPUT.FORMAT == "BGR")
