"""Which classes change places in mirrored views."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from cardamage.data.annotations.sides import indices_at_test
from cardamage.errors import ConfigValueError

__all__ = ["exchanged_classes"]


def exchanged_classes(cfg: Any, num_classes: int, indices: Sequence[int] | None = None) -> torch.Tensor:
    """Tell what each class of a model is in a mirrored view.

    Args:
        cfg: INPUT.FLIP_CLASS_PAIRS and DATASETS are read, unless indices are given.
        num_classes: the model's.
        indices: what each class becomes, known otherwise; empty where none changes.

    Returns:
        (num_classes,) int64.

    Raises:
        ConfigValueError: the classes that are named are not the model's.
        DataError: pairs are set that the classes don't fit.
    """
    found = indices_at_test(cfg) if indices is None else list(indices)
    if not found:
        return torch.arange(num_classes)
    if len(found) != num_classes:
        raise ConfigValueError(
            f"Mirrored views would exchange {len(found)} classes of the dataset, but the model has "
            f"{num_classes}: name the model's own dataset in DATASETS.TEST, or set INPUT.FLIP_CLASS_PAIRS "
            "to none."
        )
    return torch.tensor(found)
