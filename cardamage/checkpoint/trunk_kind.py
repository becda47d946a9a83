"""Which trunk weights or a model have, as keys of a config."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import torch

__all__ = ["TrunkKind", "trunk_kind", "trunk_settings"]

_BLOCK = re.compile(r"(?:^|\.)res(?P<stage>[34])\.(?P<block>\d+)\.conv(?P<layer>\d)\.weight$")
_VGG_LAYER = re.compile(r"(?:^|\.)(?:stem\.conv\d+|res\d\.\d+\.conv)\.weight$")
_CONVNEXT_BLOCK = re.compile(r"(?:^|\.)res4\.(\d+)\.layer_scale$")

# By the layers of a block and the blocks of res3 and res4.
_DEPTHS = {(2, 2, 2): 18, (2, 4, 6): 34, (3, 4, 6): 50, (3, 4, 23): 101, (3, 8, 36): 152}
# By the blocks of res4 and the channels of the stem.
_SIZES = {(9, 96): "tiny", (27, 96): "small", (27, 128): "base", (27, 192): "large"}
# VGG's fully connected layers.
_FULLY_CONNECTED = 3


class TrunkKind(NamedTuple):
    """A trunk's family and what tells its members apart; None where that is none of the usual."""

    family: str
    """``resnet``, ``vgg`` or ``convnext``, as in the name of the function that builds it."""
    size: int | str | None
    """``DEPTH``, of ConvNeXt ``SIZE``."""
    norm: bool = False
    """Whether a VGG has normalizations."""

    def keys(self) -> str:
        """Return the config's keys for it, but that of the family."""
        if self.size is None:
            return ""
        if self.family == "convnext":
            return f"MODEL.CONVNEXT.SIZE {self.size}"
        return f"MODEL.{'VGG' if self.family == 'vgg' else 'RESNETS'}.DEPTH {self.size}"


def trunk_kind(tensors: Mapping[str, torch.Tensor]) -> TrunkKind | None:
    """Tell what trunk weights are of, None where they hold none that is known.

    Args:
        tensors: by the names of a model's parameters, or by endings of these.
    """
    stem = next((value for name, value in tensors.items() if f".{name}".endswith(".stem.conv1.weight")), None)
    if stem is None:
        return None
    if any(name.endswith("res2.0.layer_scale") for name in tensors):
        blocks = [int(found[1]) + 1 for name in tensors if (found := _CONVNEXT_BLOCK.search(name))]
        # The first of a later stage halves the map.
        return TrunkKind("convnext", _SIZES.get((max(blocks, default=1) - 1, len(stem))))
    if any(f".{name}".endswith(".res2.0.conv.weight") for name in tensors):
        layers = sum(_VGG_LAYER.search(name) is not None for name in tensors)
        norm = any(f".{name}".endswith(".stem.conv1.norm.weight") for name in tensors)
        return TrunkKind("vgg", layers + _FULLY_CONNECTED, norm)
    return TrunkKind("resnet", _depth_of(tensors))


def trunk_settings(file: Mapping[str, torch.Tensor], model: Mapping[str, torch.Tensor]) -> list[str]:
    """List the keys of a config that would make a model's trunk that of a file.

    Args:
        file: a file's weights, under the names here or endings of these.
        model: the model's state dict.

    Returns:
        Such as ``["MODEL.RESNETS.DEPTH 18, .RES2_OUT_CHANNELS 64"]``; empty where they agree or are unknown.
    """
    theirs, own = trunk_kind(file), trunk_kind(model)
    if theirs is None or own is None:
        return []
    if theirs.family != own.family:
        pyramid = "_fpn" if any(".bottom_up." in name for name in model) else ""
        keys = [f"MODEL.BACKBONE.NAME build_{theirs.family}{pyramid}_backbone", theirs.keys()]
        return [key for key in keys if key] + _norm_key(theirs)
    if None in (theirs.size, own.size):
        return []
    result = [theirs.keys()] if theirs.size != own.size else []
    if result and theirs.family == "resnet" and _is_shallow(theirs) != _is_shallow(own):
        result = [f"{result[0]}, .RES2_OUT_CHANNELS {64 if _is_shallow(theirs) else 256}"]
    return result + (_norm_key(theirs) if theirs.norm != own.norm else [])


def _norm_key(kind: TrunkKind) -> list[str]:
    if kind.family != "vgg":
        return []
    return [f"MODEL.VGG.NORM {'BN' if kind.norm else repr('')}"]


def _is_shallow(kind: TrunkKind) -> bool:
    return kind.size in (18, 34)


def _depth_of(names: Iterable[str]) -> int | None:
    """Tell a ResNet's depth by its parameters' names, None where it is none of the usual ones."""
    found: list[Any] = [match for name in names if (match := _BLOCK.search(name))]
    counts = [{int(match["block"]) for match in found if match["stage"] == stage} for stage in "34"]
    layers = max((int(match["layer"]) for match in found), default=0)
    return _DEPTHS.get((layers, len(counts[0]), len(counts[1])))
