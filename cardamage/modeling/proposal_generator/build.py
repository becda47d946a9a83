"""The registry of proposal generators."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn

from cardamage.layers import ShapeSpec
from cardamage.modeling.registry import Registry

__all__ = ["PROPOSAL_GENERATOR_REGISTRY", "build_proposal_generator"]

PROPOSAL_GENERATOR_REGISTRY = Registry("PROPOSAL_GENERATOR", "MODEL.PROPOSAL_GENERATOR.NAME")
PROPOSAL_GENERATOR_REGISTRY.__doc__ = (
    "Callables ``(cfg, input_shape) -> module``, chosen by ``MODEL.PROPOSAL_GENERATOR.NAME``."
)


def build_proposal_generator(cfg: Any, input_shape: Mapping[str, ShapeSpec]) -> nn.Module | None:
    """Build what ``cfg.MODEL.PROPOSAL_GENERATOR.NAME`` names.

    Args:
        cfg: the config tree.
        input_shape: the backbone's outputs.

    Returns:
        The module, or None for ``PrecomputedProposals``: these come with the input.
    """
    name = cfg.MODEL.PROPOSAL_GENERATOR.NAME
    if name == "PrecomputedProposals":
        return None
    return PROPOSAL_GENERATOR_REGISTRY.get(name)(cfg, input_shape)
