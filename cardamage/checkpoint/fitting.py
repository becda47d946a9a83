"""Fitting the weights of a file to a model: names, order of classes, first layer."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from cardamage.checkpoint.classes import num_classes_of
from cardamage.checkpoint.input_settings import adapt_stem, disagreements, settings_for
from cardamage.checkpoint.matching import align
from cardamage.checkpoint.name_table import matched_table
from cardamage.checkpoint.reading import read_checkpoint
from cardamage.checkpoint.source_names import TORCHVISION, NamedWeights, to_detectron2_names
from cardamage.checkpoint.torchvision_names import COCO_CLASSES, coco_classes

__all__ = ["HEURISTICS", "fit_weights", "input_settings"]

logger = logging.getLogger(__name__)

HEURISTICS = "matching_heuristics"
"""The entry of a file whose weights have shorter names than the parameters they are for."""

_WRAPPER = "module."


def fit_weights(checkpoint: Mapping[str, Any], model: nn.Module, path: str) -> dict[str, Any]:
    """Return a checkpoint's weights under the names of a model, as far as they are meant for it.

    Weights of Caffe2, torchvision and timm are renamed; so are those of a file with an entry
    ``matching_heuristics``, or that shares no name with the model: a parameter takes the longest name that
    its own ends with. What went where is logged, and settings of the config that don't suit the weights.

    Args:
        checkpoint: a file's entries: ``model`` and, if it has them, ``matching_heuristics`` and
            ``__author__``.
        model: the model to load into.
        path: the file, for messages.

    Returns:
        The weights; what fits nothing keeps its name.

    Raises:
        CheckpointError: if a name fits several parameters, or the trunk is of a kind that isn't here.
    """
    weights: dict[str, Any] = checkpoint["model"]
    wrapped = all(name.startswith(_WRAPPER) for name in weights)
    plain = {name.removeprefix(_WRAPPER) if wrapped else name: value for name, value in weights.items()}
    named = to_detectron2_names({name: torch.as_tensor(value) for name, value in plain.items()}, path)
    own = model.state_dict()
    if not (named.source or checkpoint.get(HEURISTICS) or own.keys().isdisjoint(plain)):
        return weights
    _suit(named, model, str(checkpoint.get("__author__", "")), path)
    aligned = align(own, named.tensors, named.origin)
    if not aligned.matches and not aligned.misfits:
        return weights
    _log_matches({name: named.origin[theirs] for name, theirs in aligned.matches.items()}, own, path)
    # Under the parameter's name, what is of another shape is reported as that.
    misfits = {name: named.tensors[theirs] for name, theirs in aligned.misfits.items()}
    used = set(aligned.misfits.values())
    return {name: value for name, value in aligned.tensors.items() if name not in used} | misfits


def input_settings(path: str) -> dict[str, Any]:
    """Tell what a config must say for the pictures to suit a file's weights.

    Args:
        path: a weights file.

    Returns:
        Keys and values, such as ``{"INPUT.FORMAT": "BGR", "MODEL.PIXEL_STD": [1.0, 1.0, 1.0], ...}``. Empty
        for files with Detectron2's own names, which suit the config they were made with.

    Raises:
        CheckpointError: if the file can't be read.
    """
    checkpoint = read_checkpoint(path)
    tensors = {name: torch.as_tensor(value) for name, value in checkpoint["model"].items()}
    settings = settings_for(to_detectron2_names(tensors, path), str(checkpoint.get("__author__", "")))
    return {} if settings is None else settings.as_config()


def _suit(named: NamedWeights, model: nn.Module, author: str, path: str) -> None:
    """Adapt renamed weights to the model where that changes nothing, and tell what it can't do."""
    settings = settings_for(named, author)
    done = adapt_stem(named, model, settings)
    if done:
        logger.info("The first layer of the weights '%s' is converted to suit %s.", path, done)
    if named.source == TORCHVISION and num_classes_of(model.state_dict()) == COCO_CLASSES:
        named.tensors.update({name: coco_classes(name, value) for name, value in named.tensors.items()})
    keys = disagreements(named, model, settings)
    if keys:
        logger.warning(
            "The weights file '%s' was trained with other settings than the config's: set %s.",
            path,
            ", ".join(keys),
        )


def _log_matches(origins: Mapping[str, str], own: Mapping[str, torch.Tensor], path: str) -> None:
    """Show which name of the file became which, where any changed."""
    if all(name == theirs for name, theirs in origins.items()):
        return
    shapes = {name: tuple(own[name].shape) for name in origins}
    logger.info("Weights of '%s', matched by name:\n%s", path, matched_table(origins, shapes))
