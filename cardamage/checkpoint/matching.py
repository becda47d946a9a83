"""Giving weights under shorter names to the parameters they are meant for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

import torch

from cardamage.errors import CheckpointError

__all__ = ["Aligned", "align", "match_suffixes"]


class Aligned(NamedTuple):
    """Weights under a model's names."""

    tensors: dict[str, torch.Tensor]
    """Those that fit, by parameter; then the others by their name in the file."""
    matches: dict[str, str]
    """The name in the file, by parameter."""
    misfits: dict[str, str]
    """The same of those whose shape is another."""


def match_suffixes(model_names: Iterable[str], file_names: Iterable[str]) -> dict[str, str]:
    """Find for each parameter the longest name in a file that its own name ends with.

    The ending must start at a dot: ``backbone.res2.0.conv1.weight`` takes ``res2.0.conv1.weight`` before
    ``conv1.weight``, and never ``v1.weight``.

    Args:
        model_names: names of parameters.
        file_names: names in the file.

    Returns:
        The file's name of each parameter that has one.
    """
    known = set(file_names)
    matches = {}
    for name in model_names:
        parts = name.split(".")
        endings = (".".join(parts[start:]) for start in range(len(parts)))
        found = next((ending for ending in endings if ending in known), None)
        if found is not None:
            matches[name] = found
    return matches


def align(
    model: Mapping[str, torch.Tensor], weights: Mapping[str, torch.Tensor], origin: Mapping[str, str]
) -> Aligned:
    """Give weights the names of the parameters whose names end like theirs and whose shape they have.

    Args:
        model: the model's state dict.
        weights: tensors by name or ending of a name.
        origin: what to call those names in messages.

    Returns:
        The renamed weights, and what became what.

    Raises:
        CheckpointError: if a name fits two parameters alike.
    """
    found = match_suffixes(model, weights)
    fits = {name: theirs for name, theirs in found.items() if model[name].shape == weights[theirs].shape}
    taken: dict[str, str] = {}
    for name, theirs in fits.items():
        if theirs in taken:
            raise CheckpointError(
                f"The weights' {origin[theirs]} fits {taken[theirs]} and {name} of the model alike: rename "
                "the entry to the full name of the parameter it is for."
            )
        taken[theirs] = name
    tensors = {name: weights[theirs] for name, theirs in fits.items()}
    tensors.update((theirs, value) for theirs, value in weights.items() if theirs not in taken)
    misfits = {name: theirs for name, theirs in found.items() if name not in fits and theirs not in taken}
    return Aligned(tensors, fits, misfits)
