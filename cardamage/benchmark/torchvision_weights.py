"""A model's weights under torchvision's names, the other way round than checkpoints are read."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from cardamage.checkpoint.torchvision_names import convert

__all__ = ["for_torchvision"]

Weights = Mapping[str, torch.Tensor]


def for_torchvision(theirs: Weights, ours: Weights) -> dict[str, torch.Tensor] | None:
    """Return `ours` under the names of torchvision's Mask R-CNN, None where it is another network.

    Args:
        theirs: torchvision's state dict.
        ours: weights by Detectron2's names.
    """
    _, names = convert(theirs, "torchvision's model")
    result: dict[str, torch.Tensor] = {}
    for own, name in names.items():
        value = ours.get(own)
        if value is not None:
            value = _background_first(own, value, theirs[name])
        elif name.endswith("num_batches_tracked"):
            value = theirs[name]
        if value is None or value.shape != theirs[name].shape:
            return None
        result[name] = value
    return result


def _background_first(name: str, value: torch.Tensor, theirs: torch.Tensor) -> torch.Tensor:
    """Move the background's row to the front, or make one where Detectron2 has none."""
    layer = name.rpartition(".")[0]
    if layer.endswith("box_predictor.cls_score"):
        return value.roll(1, dims=0)
    if layer.endswith(("box_predictor.bbox_pred", "mask_head.predictor")):
        missing = len(theirs) - len(value)
        return torch.cat([value.new_zeros(max(0, missing), *value.shape[1:]), value])
    return value
