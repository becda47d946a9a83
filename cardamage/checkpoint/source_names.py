"""Which project a file's weights come from, by their names, and their names in Detectron2's terms."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

import torch

from cardamage.checkpoint import caffe2_names, torchvision_names
from cardamage.errors import CheckpointError

__all__ = ["CAFFE2", "TORCHVISION", "NamedWeights", "identify", "to_detectron2_names"]

CAFFE2 = "Caffe2"
TORCHVISION = "torchvision"


class NamedWeights(NamedTuple):
    """Weights under Detectron2's names, or endings of these."""

    source: str
    """``CAFFE2``, ``TORCHVISION`` (timm's ResNets bear the same names), or empty for Detectron2's own."""
    tensors: dict[str, torch.Tensor]
    """By name."""
    origin: dict[str, str]
    """The name in the file, by name."""


def identify(names: Iterable[str]) -> str:
    """Return the source of names of weights, empty for Detectron2's own and unknown ones."""
    names = set(names)
    if caffe2_names.is_caffe2(names):
        return CAFFE2
    if torchvision_names.is_torchvision_detector(names) or torchvision_names.is_torchvision_trunk(names):
        return TORCHVISION
    return ""


def to_detectron2_names(weights: Mapping[str, torch.Tensor], path: str) -> NamedWeights:
    """Rename the weights of a known source and bring its class predictors into Detectron2's order.

    What only its training used (momentum, learning rate) is left out.

    Args:
        weights: tensors by the file's names.
        path: the file, for messages.

    Returns:
        The renamed weights; those of another source as they are.

    Raises:
        CheckpointError: if two names become one, or the trunk is of a kind that isn't here.
    """
    source = identify(weights)
    if source == CAFFE2:
        kept = {blob: value for blob, value in weights.items() if caffe2_names.is_parameter(blob)}
        tensors, origin = caffe2_names.convert(kept)
    elif source == TORCHVISION:
        kept = {name: value for name, value in weights.items() if not name.endswith(".num_batches_tracked")}
        tensors, origin = torchvision_names.convert(kept, path)
    else:
        return NamedWeights("", dict(weights), {name: name for name in weights})
    if len(tensors) < len(kept):
        double = next(name for name in kept if name not in set(origin.values()))
        raise CheckpointError(
            f"The weights file '{path}' has two entries for one parameter, '{double}' is one: "
            "remove one of them."
        )
    return NamedWeights(source, tensors, origin)
