"""The backbone registry."""

from __future__ import annotations

from typing import Any

from torch import nn

from cardamage.errors import ConfigValueError
from cardamage.layers import LocalResponseNorm, ShapeSpec
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
        ConfigValueError: a normalization of the stem asked of a backbone that has none.
        TypeError: what is registered under the name made something else than a backbone.
    """
    if input_shape is None:
        input_shape = ShapeSpec(channels=len(cfg.MODEL.PIXEL_MEAN))
    name = cfg.MODEL.BACKBONE.NAME
    backbone = BACKBONE_REGISTRY.get(name)(cfg, input_shape)
    if cfg.MODEL.BACKBONE.STEM_LRN.ENABLED and not _has_response_norm(backbone):
        raise ConfigValueError(
            f"MODEL.BACKBONE.STEM_LRN.ENABLED is True, but MODEL.BACKBONE.NAME {name} has no place for it: "
            "set it to False, or take one of cardamage's trunks."
        )
    if not isinstance(backbone, Backbone):
        raise TypeError(f"MODEL.BACKBONE.NAME {name} made a {type(backbone).__name__}, not a Backbone")
    return backbone


def _has_response_norm(backbone: Any) -> bool:
    modules = backbone.modules() if isinstance(backbone, nn.Module) else ()
    return any(isinstance(module, LocalResponseNorm) for module in modules)
