"""The names of torchvision's trunks and R-CNNs, and of timm's ResNets, in Detectron2's terms."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

import torch

from cardamage.checkpoint.caffe2_names import background_last
from cardamage.checkpoint.torchvision_trunks import convnext_name, is_convnext, vgg_names
from cardamage.errors import CheckpointError

__all__ = ["COCO_CLASSES", "coco_classes", "convert", "is_torchvision_detector", "is_torchvision_trunk"]

_TRUNK = (
    (r"^conv1\.", "stem.conv1."),
    (r"^bn1\.", "stem.conv1.norm."),
    (r"^fc\.", "linear."),
    (r"^layer1\.", "res2."),
    (r"^layer2\.", "res3."),
    (r"^layer3\.", "res4."),
    (r"^layer4\.", "res5."),
    (r"\.bn(\d)\.", r".conv\1.norm."),
    (r"\.downsample\.0\.", ".shortcut."),
    (r"\.downsample\.1\.", ".shortcut.norm."),
)

# The last alternatives of a layer are the names of files that torchvision wrote up to release 0.12.
_LAYERS = (
    (r"^backbone\.fpn\.inner_blocks\.(\d)(?:\.0)?$", "backbone.fpn_lateral{0}", 2),
    (r"^backbone\.fpn\.inner_blocks\.(\d)\.1$", "backbone.fpn_lateral{0}.norm", 2),
    (r"^backbone\.fpn\.layer_blocks\.(\d)(?:\.0)?$", "backbone.fpn_output{0}", 2),
    (r"^backbone\.fpn\.layer_blocks\.(\d)\.1$", "backbone.fpn_output{0}.norm", 2),
    (r"^rpn\.head\.conv\.(\d)\.0$", "proposal_generator.rpn_head.conv.conv{0}", 0),
    (r"^rpn\.head\.conv$", "proposal_generator.rpn_head.conv", 0),
    (r"^rpn\.head\.cls_logits$", "proposal_generator.rpn_head.objectness_logits", 0),
    (r"^rpn\.head\.bbox_pred$", "proposal_generator.rpn_head.anchor_deltas", 0),
    (r"^roi_heads\.box_head\.fc6$", "roi_heads.box_head.fc1", 0),
    (r"^roi_heads\.box_head\.fc7$", "roi_heads.box_head.fc2", 0),
    (r"^roi_heads\.box_head\.(\d)\.0$", "roi_heads.box_head.conv{0}", 1),
    (r"^roi_heads\.box_head\.(\d)\.1$", "roi_heads.box_head.conv{0}.norm", 1),
    (r"^roi_heads\.mask_head\.(\d)\.0$", "roi_heads.mask_head.mask_fcn{0}", 1),
    (r"^roi_heads\.mask_head\.(\d)\.1$", "roi_heads.mask_head.mask_fcn{0}.norm", 1),
    (r"^roi_heads\.mask_predictor\.conv5_mask$", "roi_heads.mask_head.deconv", 0),
    (r"^roi_heads\.mask_predictor\.mask_fcn_logits$", "roi_heads.mask_head.predictor", 0),
)

_BODY = "backbone.body."
_LINEAR = re.compile(r"^roi_heads\.box_head\.(\d+)$")

# Of COCO's category ids 1 to 90, those that its 80 classes leave out.
_UNUSED_COCO_IDS = frozenset((12, 26, 29, 30, 45, 66, 68, 69, 71, 83))
_COCO_IDS = 90
COCO_CLASSES = _COCO_IDS - len(_UNUSED_COCO_IDS)


def is_torchvision_trunk(names: Iterable[str]) -> bool:
    """Tell whether names are those of torchvision's ResNets (or timm's), VGGs or ConvNeXts."""
    names = set(names)
    if is_convnext(names) or vgg_names(names) is not None:
        return True
    return "layer1.0.conv1.weight" in names and any(name.startswith("conv1.") for name in names)


def is_torchvision_detector(names: Iterable[str]) -> bool:
    """Tell whether names are those of a Faster or Mask R-CNN of torchvision with a ResNet."""
    names = set(names)
    return "rpn.head.cls_logits.weight" in names and f"{_BODY}layer1.0.conv1.weight" in names


def convert(weights: Mapping[str, torch.Tensor], path: str) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    """Rename the weights of a trunk or of a detector.

    Args:
        weights: tensors by torchvision's name.
        path: the file, for messages.

    Returns:
        Tensors by their name here (a trunk's without what comes before ``stem`` and ``res2``), class
        predictors in Detectron2's order; and the name in the file of each.

    Raises:
        CheckpointError: if it is a variant of ResNet that isn't here.
    """
    _check_variant(weights, path)
    if is_torchvision_detector(weights):
        fixed = _numbered_layers(weights)
        origin = {_detector_name(name, fixed): name for name in weights}
    else:
        origin = {ours: name for name, ours in _trunk_names(weights).items()}
    return {name: background_last(name, weights[theirs]) for name, theirs in origin.items()}, origin


def coco_classes(name: str, value: torch.Tensor) -> torch.Tensor:
    """Leave the ids that COCO doesn't use out of a class predictor of 90 classes.

    torchvision's COCO weights have a row for each category id; Detectron2 counts COCO's 80 classes only.

    Args:
        name: the parameter's name here.
        value: its weight or bias, in Detectron2's order.

    Returns:
        The rows of the 80 classes (and of the background); the tensor itself if it isn't a predictor.
    """
    used = [row for row in range(_COCO_IDS) if row + 1 not in _UNUSED_COCO_IDS]
    layer = name.rpartition(".")[0]
    if layer.endswith("box_predictor.cls_score") and len(value) == _COCO_IDS + 1:
        return value[[*used, _COCO_IDS]]
    if layer.endswith("box_predictor.bbox_pred") and len(value) == 4 * _COCO_IDS:
        return value.unflatten(0, (_COCO_IDS, 4))[used].flatten(0, 1)
    if layer.endswith("mask_head.predictor") and len(value) == _COCO_IDS:
        return value[used]
    return value


def _trunk_names(names: Iterable[str]) -> dict[str, str]:
    """Return the names here of a trunk's weights, by their own."""
    names = list(names)
    if is_convnext(names):
        return {name: convnext_name(name) for name in names}
    layers = vgg_names(names)
    if layers is None:
        return {name: _trunk_name(name) for name in names}
    split = {name: name.rpartition(".") for name in names}
    return {name: f"{layers.get(layer, layer)}.{last}" for name, (layer, _, last) in split.items()}


def _trunk_name(name: str) -> str:
    for pattern, replacement in _TRUNK:
        name = re.sub(pattern, replacement, name)
    return name


def _numbered_layers(names: Iterable[str]) -> dict[str, str]:
    """Return the layers whose name here depends on what other layers there are."""
    layers = {name.rpartition(".")[0] for name in names}
    linear = sorted(int(found[1]) for layer in layers if (found := _LINEAR.match(layer)))
    fixed = {f"roi_heads.box_head.{index}": f"roi_heads.box_head.fc{n}" for n, index in enumerate(linear, 1)}
    if "rpn.head.conv.1.0" not in layers:
        fixed["rpn.head.conv.0.0"] = "proposal_generator.rpn_head.conv"
    return fixed


def _detector_name(name: str, fixed: Mapping[str, str]) -> str:
    if name.startswith(_BODY):
        return f"backbone.bottom_up.{_trunk_name(name.removeprefix(_BODY))}"
    layer, _, parameter = name.rpartition(".")
    if layer in fixed:
        return f"{fixed[layer]}.{parameter}"
    for pattern, template, first in _LAYERS:
        if found := re.match(pattern, layer):
            numbers = [int(group) + first for group in found.groups()]
            return f"{template.format(*numbers)}.{parameter}"
    return name


def _check_variant(weights: Mapping[str, torch.Tensor], path: str) -> None:
    """Refuse what bears a ResNet's names but computes something else."""
    kinds = {
        "a deep stem": "conv1.0.weight" in weights,
        "squeeze-and-excitation": any(".se." in name for name in weights),
        "pooled shortcuts": any(
            name.endswith(".downsample.1.weight") and value.dim() > 1 for name, value in weights.items()
        ),
    }
    for kind, there in kinds.items():
        if there:
            raise CheckpointError(
                f"The weights file '{path}' is a ResNet with {kind}, which the models here don't have: use "
                "a plain one, such as torchvision's resnet50 or timm's resnet50.tv_in1k."
            )
