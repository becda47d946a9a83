"""Configs of earlier ``VERSION``s: the same settings under the names of another version."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..errors import ConfigError
from .node import CfgNode
from .versions import LATEST_VERSION, downgrade_tree, upgrade_tree

__all__ = ["downgrade_config", "upgrade_config"]


def upgrade_config(cfg: CfgNode, to_version: int | None = None) -> CfgNode:
    """Bring a whole config of an earlier version to a later one.

    Args:
        cfg: the config, left as it is; ``VERSION`` says which it is of.
        to_version: the version to reach; None is the latest.

    Returns:
        A copy under the later names.

    Raises:
        ConfigError: if it is of a later version already.
    """
    target = LATEST_VERSION if to_version is None else to_version
    if cfg.VERSION > target:
        raise ConfigError(f"A config of VERSION {cfg.VERSION} can't be upgraded to VERSION {target}.")
    return _converted(cfg, upgrade_tree, target)


def downgrade_config(cfg: CfgNode, to_version: int) -> CfgNode:
    """Bring a whole config to an earlier version, so that an old file can be merged into it.

    Args:
        cfg: the config, left as it is.
        to_version: the version to reach, 0 or more.

    Returns:
        A copy under the earlier names.

    Raises:
        ConfigError: if it is of an earlier version already.
    """
    if cfg.VERSION < to_version:
        raise ConfigError(f"A config of VERSION {cfg.VERSION} can't be downgraded to VERSION {to_version}.")
    return _converted(cfg, downgrade_tree, to_version)


def _converted(cfg: CfgNode, convert: Callable[[dict[str, Any], int, int], None], target: int) -> CfgNode:
    result = cfg.clone()
    convert(result, cfg.VERSION, target)
    result["VERSION"] = target
    return result
