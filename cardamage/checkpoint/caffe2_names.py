"""The names of Caffe2's blobs (Detectron 1, MSRA's and FAIR's ImageNet weights) in Detectron2's terms."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

import torch

__all__ = ["background_last", "blob_name", "convert", "detector_blob_name", "is_caffe2", "is_parameter"]

# A blob is named layer_parameter, or layer_norm_parameter.
_PARAMETER = re.compile(
    r"_(?:(?P<plain>[wb])|(?:bn|gn)_(?P<norm>s|b|gamma|beta|rm|riv|running_mean|running_var))$"
)
_PLAIN = {"w": "weight", "b": "bias"}
_NORM = {
    "s": "norm.weight",
    "gamma": "norm.weight",
    "b": "norm.bias",
    "beta": "norm.bias",
    "rm": "norm.running_mean",
    "running_mean": "norm.running_mean",
    "riv": "norm.running_var",
    "running_var": "norm.running_var",
}

# What to write for the layers of a trunk; dots stand for the blob's underscores.
_TRUNK = (
    (r"^pred$", "linear"),
    (r"^(?:res\.)?conv1$", "stem.conv1"),
    (r"\.branch1$", ".shortcut"),
    (r"\.branch2a$", ".conv1"),
    (r"\.branch2b$", ".conv2"),
    (r"\.branch2c$", ".conv3"),
)

# The RPN's layers carry the level they were made for, the first of those that share them.
_DETECTOR = (
    (r"^conv\.rpn(?:\.fpn\d+)?$", "proposal_generator.rpn_head.conv"),
    (r"^rpn\.cls\.logits(?:\.fpn\d+)?$", "proposal_generator.rpn_head.objectness_logits"),
    (r"^rpn\.bbox\.pred(?:\.fpn\d+)?$", "proposal_generator.rpn_head.anchor_deltas"),
    (r"^fpn\.inner\.res(\d)\..*$", r"fpn_lateral\1"),
    (r"^fpn\.res(\d)\..*$", r"fpn_output\1"),
    (r"^fc6$", "box_head.fc1"),
    (r"^fc7$", "box_head.fc2"),
    (r"^head\.conv(\d+)$", r"box_head.conv\1"),
    (r"^cls\.score$", "cls_score"),
    (r"^bbox\.pred$", "bbox_pred"),
    (r"^\.(?:mask|\[mask\])\.fcn(\d+)$", r"mask_head.mask_fcn\1"),
    (r"^conv5\.mask$", "mask_head.deconv"),
    (r"^mask\.fcn\.logits$", "mask_head.predictor"),
)


def is_caffe2(names: Iterable[str]) -> bool:
    """Tell whether names of weights are Caffe2's: no dots, and endings of blobs."""
    names = list(names)
    return any(name.endswith("_w") for name in names) and not any("." in name for name in names)


def is_parameter(blob: str) -> bool:
    """Tell whether a blob holds weights, rather than a training's momentum, learning rate or the like."""
    return _PARAMETER.search(blob) is not None


def blob_name(blob: str) -> str:
    """Return the name of a trunk's blob, such as ``res2.0.conv1.norm.weight`` of ``res2_0_branch2a_bn_s``."""
    return _renamed(blob, _TRUNK)


def detector_blob_name(blob: str) -> str:
    """Return the name of any blob of a detector, a suffix of the parameter's full name."""
    return _renamed(blob, (*_TRUNK, *_DETECTOR))


def _renamed(blob: str, rules: Iterable[tuple[str, str]]) -> str:
    found = _PARAMETER.search(blob)
    layer = (blob[: found.start()] if found else blob).replace("_", ".")
    for pattern, replacement in rules:
        layer = re.sub(pattern, replacement, layer)
    if found is None:
        return layer
    parameter = _PLAIN[found["plain"]] if found["plain"] else _NORM[found["norm"]]
    return f"{layer}.{parameter}"


def background_last(name: str, value: torch.Tensor) -> torch.Tensor:
    """Bring the rows of a class predictor into Detectron2's order.

    Caffe2 and torchvision count the background as class 0. Detectron2 has its score last, and no box deltas
    and no mask for it.

    Args:
        name: the parameter's name here, or a suffix of it.
        value: its weight or bias, a row for each class (four for box deltas), the background's first.

    Returns:
        The tensor in the new order; that of any other parameter as it is.
    """
    layer = f".{name}".rpartition(".")[0]
    if layer.endswith(".cls_score"):
        return torch.cat([value[1:], value[:1]])
    if layer.endswith(".bbox_pred"):
        return value[4:]
    # A mask that doesn't tell classes apart has no row for the background.
    if layer.endswith(".mask_head.predictor") and len(value) > 1:
        return value[1:]
    return value


def convert(weights: Mapping[str, torch.Tensor]) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    """Rename all blobs of a file.

    Args:
        weights: tensors by blob.

    Returns:
        Tensors by their name here or a suffix of it, class predictors in Detectron2's order; and the blob of
        each of these names.
    """
    origin = {detector_blob_name(blob): blob for blob in weights}
    return {name: background_last(name, weights[blob]) for name, blob in origin.items()}, origin
