"""The config tree: defaults, YAML files, command-line options, and what is checked about them."""

from __future__ import annotations

from functools import lru_cache

from cardamage.absent import absent_names

from .configurable import configurable
from .defaults import default_tree
from .node import CfgNode
from .validate import validate_cfg

__all__ = ["CfgNode", "configurable", "get_cfg", "validate_cfg"]


@lru_cache(maxsize=1)
def _defaults() -> CfgNode:
    tree = CfgNode(default_tree())
    tree.seal()
    return tree


def get_cfg() -> CfgNode:
    """Get a fresh copy of the default config, with nothing set by the user."""
    return _defaults().clone()


__getattr__ = absent_names(__name__)
