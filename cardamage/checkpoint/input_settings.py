"""What pictures must look like for weights of a source, and whether the model's do."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import torch
from torch import nn

from cardamage.checkpoint.source_names import CAFFE2, TORCHVISION, NamedWeights
from cardamage.checkpoint.trunk_kind import trunk_settings

__all__ = ["InputSettings", "adapt_stem", "disagreements", "settings_for"]

Triple = tuple[float, float, float]

_STEM = "stem.conv1.weight"

# ImageNet's, of values from 0 to 255.
_MEAN_RGB: Triple = (123.675, 116.28, 103.53)
_STD_RGB: Triple = (58.395, 57.12, 57.375)
_UNSCALED: Triple = (1.0, 1.0, 1.0)
_MEAN_TOLERANCE, _STD_TOLERANCE = 1.0, 0.05


class InputSettings(NamedTuple):
    """What the trunk of a source was trained with; None where its files don't tell."""

    channel_order: str
    """``INPUT.FORMAT``."""
    pixel_mean: Triple
    """``MODEL.PIXEL_MEAN``, in that order."""
    pixel_std: Triple | None
    """``MODEL.PIXEL_STD``, in that order."""
    stride_in_1x1: bool | None
    """``MODEL.RESNETS.STRIDE_IN_1X1``; None also for the shallow ResNets, which have no 1x1 layers."""

    def as_config(self) -> dict[str, Any]:
        """Return the config's keys with these values."""
        values = {
            "INPUT.FORMAT": self.channel_order,
            "MODEL.PIXEL_MEAN": list(self.pixel_mean),
            "MODEL.PIXEL_STD": None if self.pixel_std is None else list(self.pixel_std),
            "MODEL.RESNETS.STRIDE_IN_1X1": self.stride_in_1x1,
        }
        return {key: value for key, value in values.items() if value is not None}


def settings_for(named: NamedWeights, author: str = "") -> InputSettings | None:
    """Tell what weights of a known source expect.

    - torchvision and timm: RGB, ImageNet's mean and deviation, the stride in the 3x3 layers;
    - torchvision's VGG-16 without a classifier (``IMAGENET1K_FEATURES``): the same without the deviation;
    - Caffe2 (MSRA's R-50 and R-101, Detectron 1): BGR, no deviation, the stride in the 1x1 layers;
    - Caffe2's group-norm trunks and ResNeXts: the stride in the 3x3 layers, and for ResNeXts the deviation
      depends on the file (Detectron2's X-101-32x8d was trained with ImageNet's).

    Args:
        named: the weights.
        author: the file's ``__author__``; Detectron2's converter of torchvision's trunks writes that there.

    Returns:
        The settings, None for Detectron2's own files, which suit the config they were made with.
    """
    if named.source == TORCHVISION or author == TORCHVISION:
        deviation = _UNSCALED if _lacks_classifier(named.tensors) else _STD_RGB
        return InputSettings("RGB", _MEAN_RGB, deviation, _has_bottlenecks(named.tensors, False))
    if named.source != CAFFE2:
        return None
    middle = _find(named.tensors, "res2.0.conv2.weight")
    grouped = middle is not None and middle.shape[0] != middle.shape[1]
    group_norm = any("_gn_" in blob for blob in named.origin.values())
    std = None if grouped else _UNSCALED
    stride = _has_bottlenecks(named.tensors, not grouped and not group_norm)
    return InputSettings("BGR", _MEAN_RGB[::-1], std, stride)


def adapt_stem(named: NamedWeights, model: nn.Module, settings: InputSettings | None) -> str:
    """Make torchvision's first layer expect the channel order and deviation that the model works with.

    The layer computes the same from a model's input as the original from its own: its channels are reordered
    and scaled. That is exact; only the pixel mean must be the original's.

    Args:
        named: the weights; the first layer's are replaced.
        model: the model; if it tells no ``input_format``, nothing is done.
        settings: what the weights expect.

    Returns:
        What was done, for the log; empty if nothing.
    """
    order, std = getattr(model, "input_format", None), _channels(model, "pixel_std")
    name = next((n for n in named.tensors if f".{n}".endswith(f".{_STEM}")), None)
    if named.source != TORCHVISION or settings is None or settings.pixel_std is None:
        return ""
    if name is None or order not in ("BGR", "RGB") or std is None or named.tensors[name].shape[1] != len(std):
        return ""
    weight, own_std = named.tensors[name], torch.tensor(settings.pixel_std)
    done = []
    if order != settings.channel_order:
        weight, own_std = weight.flip(1), own_std.flip(0)
        done.append(f"INPUT.FORMAT {order}")
    scale = torch.tensor(std) / own_std
    if not torch.allclose(scale, torch.ones(3), rtol=0, atol=1e-6):
        weight = weight * scale.to(weight)[:, None, None]
        done.append(f"MODEL.PIXEL_STD {[round(value, 3) for value in std]}")
    named.tensors[name] = weight
    return " and ".join(done)


def disagreements(named: NamedWeights, model: nn.Module, settings: InputSettings | None) -> list[str]:
    """List the config's keys that don't suit the weights, each with the value that does.

    Args:
        named: the weights.
        model: the model they are for.
        settings: what the weights expect; None lists nothing.
    """
    if settings is None:
        return []
    order = getattr(model, "input_format", None)
    mean, std = settings.pixel_mean, settings.pixel_std
    result = trunk_settings(named.tensors, model.state_dict())
    if named.source == TORCHVISION:
        # The first layer is adapted to the model's order and deviation.
        std = None
        mean = mean if order != "BGR" else mean[::-1]
    elif order is not None and order != settings.channel_order:
        result.append(f"INPUT.FORMAT {settings.channel_order}")
    if _differ(_channels(model, "pixel_mean"), mean, _MEAN_TOLERANCE):
        result.append(f"MODEL.PIXEL_MEAN {list(mean)}")
    if std is not None and _differ(_channels(model, "pixel_std"), std, _STD_TOLERANCE):
        result.append(f"MODEL.PIXEL_STD {list(std)}")
    stride = _strides_in_1x1(model)
    if None not in (stride, settings.stride_in_1x1) and stride != settings.stride_in_1x1:
        result.append(f"MODEL.RESNETS.STRIDE_IN_1X1 {settings.stride_in_1x1}")
    return result + list(_operator_settings(named, model))


def _operator_settings(named: NamedWeights, model: nn.Module) -> Iterator[str]:
    """Yield keys of what stands between the weights."""
    norms = [name for name in named.tensors if ".norm." in name]
    folded = norms and not any(name.endswith("running_var") for name in norms)
    group_norm = any("_gn_" in blob for blob in named.origin.values())
    if named.source == CAFFE2 and folded and not group_norm and _trains_batch_norm(model):
        yield "MODEL.RESNETS.NORM FrozenBN (their batch norms are folded into a scale and a shift)"
    if named.source == TORCHVISION and _find(named.tensors, "box_predictor.cls_score.weight") is not None:
        for key, heads in (("BOX", "box_pooler"), ("MASK", "mask_pooler")):
            pooler = getattr(getattr(model, "roi_heads", None), heads, None)
            if any(getattr(module, "aligned", False) for module in (pooler.modules() if pooler else ())):
                yield f"MODEL.ROI_{key}_HEAD.POOLER_TYPE ROIAlign, .POOLER_SAMPLING_RATIO 2"


def _trains_batch_norm(model: nn.Module) -> bool:
    return any(
        isinstance(module, nn.modules.batchnorm._BatchNorm)
        for name, module in model.named_modules()
        if ".res" in f".{name}"
    )


def _strides_in_1x1(model: nn.Module) -> bool | None:
    """Tell which layer of the trunk's bottlenecks has the stride, None where there are none."""
    for name, module in model.named_modules():
        if f".{name}".endswith(".res3.0") and hasattr(module, "conv3"):
            return tuple(module.conv1.stride) != (1, 1)
    return None


def _has_bottlenecks(tensors: Mapping[str, torch.Tensor], answer: bool) -> bool | None:
    return answer if _find(tensors, "res2.0.conv3.weight") is not None else None


def _lacks_classifier(tensors: Mapping[str, torch.Tensor]) -> bool:
    """Tell whether a file has a VGG's classifier, but no values in it."""
    weight = tensors.get("classifier.0.weight")
    return weight is not None and weight.is_floating_point() and bool(weight.isnan().all())


def _find(tensors: Mapping[str, torch.Tensor], ending: str) -> torch.Tensor | None:
    return next((value for name, value in tensors.items() if f".{name}".endswith(f".{ending}")), None)


def _channels(model: nn.Module, name: str) -> list[float] | None:
    value = getattr(model, name, None)
    return [float(item) for item in value.flatten()] if isinstance(value, torch.Tensor) else None


def _differ(own: list[float] | None, wanted: Triple, tolerance: float) -> bool:
    if own is None or len(own) != len(wanted):
        return False
    return any(abs(a - b) > tolerance for a, b in zip(own, wanted, strict=True))
