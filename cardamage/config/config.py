"""The default tree and the global one, under Detectron2's module path."""

from __future__ import annotations

from functools import lru_cache

from .configurable import configurable
from .defaults import default_tree
from .node import CfgNode

__all__ = ["CfgNode", "configurable", "get_cfg", "global_cfg", "set_global_cfg"]

global_cfg = CfgNode()
"""The config that :func:`set_global_cfg` was given last; empty before."""


@lru_cache(maxsize=1)
def _defaults() -> CfgNode:
    tree = CfgNode(default_tree())
    tree.seal()
    return tree


def get_cfg() -> CfgNode:
    """Get a fresh copy of the default config, with nothing set by the user."""
    return _defaults().clone()


def set_global_cfg(cfg: CfgNode) -> None:
    """Let :data:`global_cfg` have the keys of a config, for code that none is handed to.

    Args:
        cfg: the config; later changes of its groups are seen through the global one.
    """
    global_cfg.clear()
    global_cfg.update(cfg)
