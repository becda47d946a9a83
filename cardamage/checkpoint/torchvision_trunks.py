"""The names of torchvision's VGGs and ConvNeXts in terms of the trunks here."""

from __future__ import annotations

import re
from collections.abc import Iterable

__all__ = ["convnext_name", "is_convnext", "vgg_names"]

_VGG_CONV = re.compile(r"^features\.(\d+)\.(?:weight|bias)$")
_VGG_NORM = re.compile(r"^features\.(\d+)\.running_mean$")
_VGG_GROUPS = 5
# The first groups of convolutions make up the stem.
_STEM_GROUPS = 2

_BLOCK_LAYERS = {"block.0": "conv", "block.2": "norm", "block.3": "fc1", "block.5": "fc2"}
_BLOCK = re.compile(r"^features\.([1357])\.(\d+)\.(layer_scale|block\.[0235])(.*)$")
_DOWNSAMPLE = re.compile(r"^features\.([246])\.([01])(.*)$")


def vgg_names(names: Iterable[str]) -> dict[str, str] | None:
    """Return the layers of a VGG of torchvision by their names there, None where names are not a VGG's.

    Between two convolutions lie a ReLU, maybe a normalization, and where a group of convolutions ends a
    pooling: which it is, the numbers tell.

    Args:
        names: of the weights.

    Returns:
        Names here such as ``stem.conv1``, ``res2.0.conv`` and ``res2.0.conv.norm``, by ``features.0`` etc.
    """
    names = set(names)
    if not all(name.startswith(("features.", "classifier.")) for name in names):
        return None
    numbered = {int(found[1]) for name in names if (found := _VGG_CONV.match(name))}
    norms = {int(found[1]) for name in names if (found := _VGG_NORM.match(name))}
    convs = sorted(numbered - norms)
    step = 3 if norms else 2
    gaps = {later - earlier - step for earlier, later in zip(convs, convs[1:], strict=False)}
    if convs[:1] != [0] or not gaps <= {0, 1} or (norms and norms != {index + 1 for index in convs}):
        return None
    layers: dict[str, str] = {}
    group = place = 0
    for i, index in enumerate(convs):
        if i and index - convs[i - 1] > step:
            group, place = group + 1, 0
        name = f"stem.conv{i + 1}" if group < _STEM_GROUPS else f"res{group}.{place}.conv"
        layers[f"features.{index}"] = name
        if norms:
            layers[f"features.{index + 1}"] = f"{name}.norm"
        place += 1
    return layers if group + 1 == _VGG_GROUPS else None


def is_convnext(names: Iterable[str]) -> bool:
    """Tell whether names are those of a ConvNeXt of torchvision."""
    names = set(names)
    return "features.1.0.layer_scale" in names and "features.0.0.weight" in names


def convnext_name(name: str) -> str:
    """Return the name here of a weight of torchvision's ConvNeXt; what is not of its trunk stays."""
    if found := _BLOCK.match(name):
        stage, block, part, rest = int(found[1]) // 2, int(found[2]), found[3], found[4]
        # Later stages begin with the layer that halves the map.
        return f"res{stage + 2}.{block + (stage > 0)}.{_BLOCK_LAYERS.get(part, part)}{rest}"
    if found := _DOWNSAMPLE.match(name):
        return f"res{int(found[1]) // 2 + 2}.0.{'conv' if found[2] == '1' else 'norm'}{found[3]}"
    return re.sub(r"^features\.0\.1\.", "stem.conv1.norm.", re.sub(r"^features\.0\.0\.", "stem.conv1.", name))
