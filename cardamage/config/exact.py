"""The keys that make cardamage compute as Detectron2 does, operation by operation."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from .config import CfgNode

__all__ = ["EXACT", "make_exact"]

EXACT: Mapping[str, Any] = MappingProxyType(
    {
        "DATALOADER.PIN_MEMORY": False,
        "DATALOADER.PREFETCH_DEVICE": False,
        "INPUT.FLIP_CLASS_PAIRS": "none",
        "INPUT.RESIZE": "exact",
        "INPUT.SCALED_DECODE": False,
        "MODEL.CHANNELS_LAST": False,
        "MODEL.COMPILE": False,
        "MODEL.RPN.SAMPLED_GRADIENT": False,
        "SOLVER.AMP.ENABLED": False,
        "SOLVER.FUSED": False,
        "TEST.FUSE": False,
        "TEST.PRECISION": "float32",
        "TEST.WINOGRAD": False,
    }
)
"""Every fast path off: plain float32, the path that is held against Detectron2's recorded numbers."""


def make_exact(cfg: CfgNode) -> None:
    """Set the keys of :data:`EXACT` in a config; what is merged later still overrides them.

    Args:
        cfg: changed in place.
    """
    cfg.merge_from_list([part for pair in EXACT.items() for part in pair])
