"""The backbone registry."""

from __future__ import annotations

from typing import Any

from cardamage.layers import ShapeSpec
from cardamage.modeling.registry import Registry

from .backbone import Backbone

__all__ = ["BACKBONE_REGISTRY", "build_backbone"]

BACKBONE_REGISTRY = Registry("BACKBONE", "MODEL.BACKBONE.NAME")
BACKBONE_REGISTRY.__doc__ = "Callables ``(cfg, input_shape) -> Backbone``, chosen by ``MODEL.BACKBONE.NAME``."


def build_backbone(cfg: Any, input_shape: ShapeSpec | None = None) -> Backbone:
    """Build the backbone that ``cfg.MODEL.BACKBONE.NAME`` names.

    Args:
        cfg: the config tree.
        input_shape: the image's channels; by default as many as ``MODEL.PIXEL_MEAN`` has.

    Returns:
        The backbone, on the CPU.

    Raises:
        TypeError: what is registered under the name made something else than a backbone.
    """
    if input_shape is None:
        input_shape = ShapeSpec(channels=len(cfg.MODEL.PIXEL_MEAN))
    name = cfg.MODEL.BACKBONE.NAME
    backbone = BACKBONE_REGISTRY.get(name)(cfg, input_shape)
    if not isinstance(backbone, Backbone):
        raise TypeError(f"MODEL.BACKBONE.NAME {name} made a {type(backbone).__name__}, not a Backbone")
    return backbone
