"""Weights made up so that an untrained model works as hard as a trained one.

Fresh weights won't do: behind frozen norms the activations double with every block, and the classes' scores
are all alike. Here every layer in question is scaled to a given deviation while a picture passes it
(Mishkin and Matas, All you need is a good init, ICLR 2016), and the background's bias is lowered until there
are as many detections as a picture may have.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import nn

__all__ = ["force_detections", "settle"]

# The end of a layer's name, and the deviation of what it gives.
_DEVIATIONS = (
    ("stem.conv1.norm", 1.0),
    ("shortcut.norm", 1.0),
    ("conv3.norm", 0.3),
    ("objectness_logits", 2.0),
    ("anchor_deltas", 0.2),
    ("cls_score", 2.5),
    ("bbox_pred", 0.5),
    ("mask_head.predictor", 2.0),
)
# Blocks of two layers end with the second.
_SHORT_BLOCKS = ("conv2.norm", 0.3)
_HIGHEST, _LOWEST, _STEP = 16.0, -12.0, 0.5


@torch.no_grad()
def settle(model: nn.Module, inputs: Sequence[Any]) -> None:
    """Scale the layers of a Mask R-CNN, in place.

    Args:
        model: in evaluation mode.
        inputs: its input; a small picture does.
    """
    names = [name for name, _ in model.named_modules()]
    deviations = list(_DEVIATIONS)
    if not any(name.endswith("conv3.norm") for name in names):
        deviations.append(_SHORT_BLOCKS)
    with ExitStack() as stack:
        for name, module in model.named_modules():
            for ending, deviation in deviations:
                if name.endswith(ending) and hasattr(module, "weight"):
                    stack.callback(module.register_forward_hook(_scaling(deviation)).remove)
        model(inputs)


def _scaling(deviation: float) -> Callable[..., Any]:
    """Return a hook that scales a layer the first time it is called, and what it gives then."""
    factors: list[float] = []

    def hook(module: Any, _: Any, output: torch.Tensor) -> torch.Tensor | None:
        """Scale weights, bias and this output alike; a head that several levels share only once."""
        if factors:
            return None
        found = float(output.float().std())
        factors.append(deviation / found if found > 0 else 1.0)
        module.weight.mul_(factors[0])
        if module.bias is not None:
            module.bias.mul_(factors[0])
        return output * factors[0]

    return hook


@torch.no_grad()
def force_detections(model: Any, inputs: Sequence[Any], wanted: int) -> list[int]:
    """Lower the background's bias, in place, until every picture has so many detections.

    Args:
        model: a model with ``roi_heads.box_predictor``, or several in a cascade, in evaluation mode.
        inputs: the pictures.
        wanted: the most that the model gives.

    Returns:
        The detections of each picture; fewer where the model's proposals don't give as many.
    """
    seen: list[Any] = []
    hook = model.roi_heads.register_forward_pre_hook(lambda _, args: seen.append(args))
    model(inputs)
    hook.remove()
    heads: Any = model.roi_heads
    several = isinstance(heads.box_predictor, nn.ModuleList)
    biases = [one.cls_score.bias for one in (heads.box_predictor if several else [heads.box_predictor])]

    def counts(place: int) -> list[int]:
        for bias in biases:
            bias[-1] = _HIGHEST - place * _STEP
        return [len(found) for found in heads(*seen[0])[0]]

    places = range(int((_HIGHEST - _LOWEST) / _STEP) + 1)
    with _without_masks(heads):
        # The lower, the more: halving what is left takes six runs of the heads where all would be 57.
        enough = bisect_left(places, True, key=lambda place: min(counts(place)) >= wanted)
        return counts(min(enough, places[-1]))


@contextmanager
def _without_masks(heads: Any) -> Iterator[None]:
    """They don't change how many objects there are, and take long."""
    before, heads.mask_on = heads.mask_on, False
    try:
        yield
    finally:
        heads.mask_on = before
