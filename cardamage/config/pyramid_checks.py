"""Checks of a pyramid with fewer levels against the parts that read it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from ..errors import ConfigValueError
from .node import CfgNode

__all__ = ["check_pyramid"]


def check_pyramid(cfg: CfgNode) -> None:
    """Refuse readers of levels that ``MODEL.FPN.OUT_FEATURES`` leaves out, and anchors for other levels.

    Args:
        cfg: the whole tree.

    Raises:
        ConfigValueError: names the key, its value and what it may be.
    """
    key, levels = "MODEL.FPN.OUT_FEATURES", cfg.MODEL.FPN.OUT_FEATURES
    if not isinstance(levels, (list, tuple)) or not all(re.fullmatch(r"p\d+", str(x)) for x in levels):
        raise ConfigValueError(f"{key} is {levels!r}; it must hold names of levels such as 'p2', or nothing.")
    if not levels:
        return
    readers = ("RPN",) if cfg.MODEL.META_ARCHITECTURE == "ProposalNetwork" else ("RPN", "ROI_HEADS")
    for reader in readers:
        names = cfg.MODEL[reader].IN_FEATURES
        if not set(names) <= set(levels):
            raise ConfigValueError(
                f"MODEL.{reader}.IN_FEATURES is {list(names)}; with {key} {list(levels)} it must name some "
                "of these."
            )
    unread = set(levels).difference(*(cfg.MODEL[reader].IN_FEATURES for reader in readers))
    if unread:
        raise ConfigValueError(
            f"{key} is {list(levels)}; {' and '.join(f'MODEL.{reader}.IN_FEATURES' for reader in readers)} "
            f"don't name {', '.join(sorted(unread))}, so leave that out."
        )
    for name in ("SIZES", "ASPECT_RATIOS"):
        _check_anchors(name, cfg.MODEL.ANCHOR_GENERATOR[name], cfg.MODEL.RPN.IN_FEATURES)


def _check_anchors(name: str, lists: Any, levels: Sequence[str]) -> None:
    """Refuse lists of anchors that are for another number of levels."""
    nested = isinstance(lists, (list, tuple)) and any(isinstance(one, (list, tuple)) for one in lists)
    if nested and len(lists) not in (1, len(levels)):
        raise ConfigValueError(
            f"MODEL.ANCHOR_GENERATOR.{name} is {lists!r}; with MODEL.RPN.IN_FEATURES {list(levels)} it must "
            f"hold one list for all levels or {len(levels)}, one for each."
        )
