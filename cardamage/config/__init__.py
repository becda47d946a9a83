"""The config tree: defaults, YAML files, command-line options, and what is checked about them."""

from __future__ import annotations

from cardamage.absent import absent_names

from .compat import downgrade_config, upgrade_config
from .config import CfgNode, configurable, get_cfg, global_cfg, set_global_cfg
from .exact import make_exact
from .validate import validate_cfg

__all__ = [
    "CfgNode",
    "configurable",
    "downgrade_config",
    "get_cfg",
    "global_cfg",
    "make_exact",
    "set_global_cfg",
    "upgrade_config",
    "validate_cfg",
]

__getattr__ = absent_names(__name__)
