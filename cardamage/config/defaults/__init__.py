"""The default value of every key, one file for each part of the tree.

Keys and values are Detectron2's, so that its YAML files load and mean the same; ours beyond those are marked.
Each function returns a fresh plain dict, so that no two trees share a list.
"""

from __future__ import annotations

from typing import Any

from .data import dataloader, datasets, input_
from .model import model
from .run import root, test
from .solver import solver

__all__ = ["default_tree"]


def default_tree() -> dict[str, Any]:
    """Build the whole default tree as nested dicts."""
    return {
        **root(),
        "MODEL": model(),
        "INPUT": input_(),
        "DATASETS": datasets(),
        "DATALOADER": dataloader(),
        "SOLVER": solver(),
        "TEST": test(),
    }
