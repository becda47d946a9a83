"""Loading by matching names, as functions: Detectron2's path and names for it."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from cardamage.checkpoint import caffe2_names
from cardamage.checkpoint.matching import align
from cardamage.checkpoint.name_table import common_prefix, matched_table

__all__ = ["align_and_update_state_dicts", "convert_basic_c2_names", "convert_c2_detectron_names"]

logger = logging.getLogger(__name__)


def convert_basic_c2_names(original_keys: Sequence[str]) -> list[str]:
    """Rename the blobs of a Caffe2 trunk, such as ``res2_0_branch2a_w`` to ``res2.0.conv1.weight``.

    Args:
        original_keys: names of blobs.

    Returns:
        The new names in the same order.
    """
    return [caffe2_names.blob_name(key) for key in original_keys]


def convert_c2_detectron_names(weights: Mapping[str, Any]) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    """Rename the blobs of a Caffe2 detector, and bring its class predictors into Detectron2's order.

    Args:
        weights: tensors or arrays by blob.

    Returns:
        Tensors by the new name, and the blob of each new name.
    """
    return caffe2_names.convert({blob: torch.as_tensor(value) for blob, value in weights.items()})


def align_and_update_state_dicts(
    model_state_dict: Mapping[str, torch.Tensor],
    ckpt_state_dict: Mapping[str, Any],
    c2_conversion: bool = True,
) -> dict[str, torch.Tensor]:
    """Give weights the names of the parameters whose names end like theirs and whose shape they have.

    Args:
        model_state_dict: the model's.
        ckpt_state_dict: tensors or arrays by name or ending of a name.
        c2_conversion: whether to rename Caffe2's blobs first.

    Returns:
        The weights under the model's names; those that fit nothing keep theirs.

    Raises:
        CheckpointError: if a name fits two parameters alike.
    """
    weights = {name: torch.as_tensor(value) for name, value in ckpt_state_dict.items()}
    origin = {name: name for name in weights}
    if c2_conversion:
        weights, origin = convert_c2_detectron_names(weights)
    aligned = align(model_state_dict, weights, origin)
    for name, theirs in aligned.misfits.items():
        logger.warning(
            "%s of the weights has the shape %s, but %s of the model %s: it isn't loaded.",
            origin[theirs],
            tuple(weights[theirs].shape),
            name,
            tuple(model_state_dict[name].shape),
        )
    if not aligned.matches:
        logger.warning("None of the weights fits the model.")
        return aligned.tensors
    shapes = {name: tuple(model_state_dict[name].shape) for name in aligned.matches}
    origins = {name: origin[theirs] for name, theirs in aligned.matches.items()}
    logger.info("Matched by name:\n%s", matched_table(origins, shapes))
    return aligned.tensors


# Detectron2's tests ask for it by this name.
_longest_common_prefix_str = common_prefix
