"""Where parts of a user's own meet padded batches (docs/decisions/007-own-parts-get-lists.md).

Our parts work on padded batches, and are marked as doing so. What is not marked was written for
Detectron2's interface: it is given lists of :class:`~cardamage.structures.Instances`, one an image.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from .batch import ProposalBatch, TargetBatch
from .detections import DetectionBatch

__all__ = ["as_list", "batched", "call", "regions_stay_apart", "takes_batches"]

Method = TypeVar("Method", bound=Callable[..., Any])

_MARK = "_takes_batches"


def batched(method: Method) -> Method:
    """Mark a method as one that takes padded batches as well as lists. An override is not marked."""
    setattr(method, _MARK, True)
    return method


def takes_batches(part: Any) -> bool:
    """Tell whether a method, or a module's ``forward``, is marked by :func:`batched`."""
    return getattr(part.forward if isinstance(part, nn.Module) else part, _MARK, False)


def as_list(value: Any) -> Any:
    """Return the list of instances a padded batch stands for, and anything else as it is."""
    return list(value) if isinstance(value, (ProposalBatch, TargetBatch, DetectionBatch)) else value


def call(part: Callable[..., Any], *args: Any) -> Any:
    """Call a method or module, with lists in place of padded batches unless it takes these."""
    return part(*args) if takes_batches(part) else part(*map(as_list, args))


def regions_stay_apart(parts: Sequence[nn.Module]) -> bool:
    """Tell whether what parts compute for a region is known not to depend on the others.

    Only then may rows that merely fill a fixed shape be among them. Statistics over a batch would
    count these, and what a part of a user's own does with them is unknown.

    Args:
        parts: modules on regions' features.

    Returns:
        True for parts of this package without batch normalization that learns.
    """
    own = all(type(part).__module__.startswith("cardamage.") for part in _unpacked(parts))
    return own and not any(isinstance(m, _BatchNorm) and m.training for part in parts for m in part.modules())


def _unpacked(modules: Sequence[nn.Module]) -> list[nn.Module]:
    """The parts, with those of torch's plain containers in place of these."""
    found: list[nn.Module] = []
    for module in modules:
        plain = type(module) in (nn.Sequential, nn.ModuleList)
        found += _unpacked(list(module.children())) if plain else [module]
    return found
