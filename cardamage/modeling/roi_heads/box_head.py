"""From a region's features to what its class and its box are told from."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from fvcore.nn import weight_init
from torch import nn

from cardamage.config import configurable
from cardamage.errors import ConfigValueError
from cardamage.layers import ShapeSpec
from cardamage.modeling.registry import Registry

from .conv import conv3x3

__all__ = [
    "ROI_BOX_HEAD_REGISTRY",
    "FastRCNNConvFCHead",
    "build_box_head",
    "flatten_regions",
    "prediction_layers",
]

ROI_BOX_HEAD_REGISTRY = Registry("ROI_BOX_HEAD", "MODEL.ROI_BOX_HEAD.NAME")
ROI_BOX_HEAD_REGISTRY.__doc__ = (
    "Callables ``(cfg, input_shape) -> module``, chosen by ``MODEL.ROI_BOX_HEAD.NAME``."
)


@ROI_BOX_HEAD_REGISTRY.register()
class FastRCNNConvFCHead(nn.Sequential):
    """3x3 convolutions, then fully connected layers, each followed by a ReLU."""

    __jit_unused_properties__ = ("output_shape",)

    @configurable
    def __init__(
        self,
        input_shape: ShapeSpec,
        *,
        conv_dims: Sequence[int],
        fc_dims: Sequence[int],
        conv_norm: Any = "",
    ) -> None:
        """Make the layers.

        Args:
            input_shape: channels, height and width of a region's features.
            conv_dims: channels of every convolution.
            fc_dims: outputs of every fully connected layer.
            conv_norm: normalization of the convolutions, see :func:`cardamage.layers.get_norm`.

        Raises:
            ConfigValueError: no layers at all.
        """
        super().__init__()
        if not conv_dims and not fc_dims:
            raise ConfigValueError(
                "MODEL.ROI_BOX_HEAD.NUM_CONV and NUM_FC are both 0; the head needs a layer"
            )
        channels: Any = input_shape.channels
        for i, dim in enumerate(conv_dims, start=1):
            self.add_module(f"conv{i}", conv3x3(channels, dim, conv_norm))
            channels = dim
        size: tuple[Any, ...] = (channels, input_shape.height, input_shape.width)
        for i, dim in enumerate(fc_dims, start=1):
            if i == 1:
                self.add_module("flatten", nn.Flatten())
            self.add_module(f"fc{i}", nn.Linear(math.prod(size), dim))
            self.add_module(f"fc_relu{i}", nn.ReLU(inplace=True))
            size = (dim,)
        self._output_size = size
        self._initialize()

    def _initialize(self) -> None:
        # After all layers were made: so a seed gives the weights it gives in Detectron2.
        for layer in self:
            if isinstance(layer, nn.Linear):
                weight_init.c2_xavier_fill(layer)
            elif isinstance(layer, nn.Conv2d):
                weight_init.c2_msra_fill(layer)

    @classmethod
    def from_config(cls, cfg: Any, input_shape: ShapeSpec) -> dict[str, Any]:
        """Read ``MODEL.ROI_BOX_HEAD``."""
        node = cfg.MODEL.ROI_BOX_HEAD
        return {
            "input_shape": input_shape,
            "conv_dims": [node.CONV_DIM] * node.NUM_CONV,
            "fc_dims": [node.FC_DIM] * node.NUM_FC,
            "conv_norm": node.NORM,
        }

    @property
    def output_shape(self) -> ShapeSpec:
        """The shape of a region's result."""
        return ShapeSpec(*self._output_size)


def build_box_head(cfg: Any, input_shape: ShapeSpec) -> nn.Module:
    """Build the head that ``cfg.MODEL.ROI_BOX_HEAD.NAME`` names.

    Args:
        cfg: the config tree.
        input_shape: channels, height and width of a region's features.

    Returns:
        A module from (M, C, H, W) features to (M, ...) features.
    """
    return ROI_BOX_HEAD_REGISTRY.get(cfg.MODEL.ROI_BOX_HEAD.NAME)(cfg, input_shape)


def flatten_regions(x: torch.Tensor) -> torch.Tensor:
    """Make (M, D) of (M, ...)."""
    return x.flatten(1) if x.dim() > 2 else x


def prediction_layers(
    input_shape: ShapeSpec | int, num_classes: int, num_deltas: int
) -> tuple[nn.Linear, nn.Linear]:
    """The scores' layer and the offsets'; an int is a number of channels, as in older scripts."""
    shape = ShapeSpec(channels=input_shape) if isinstance(input_shape, int) else input_shape
    channels: Any = shape.channels
    size = channels * (shape.width or 1) * (shape.height or 1)
    # Both are made before either is drawn anew: in another order a seed would give other weights.
    cls_score = nn.Linear(size, num_classes + 1)
    bbox_pred = nn.Linear(size, num_deltas)
    for layer, deviation in ((cls_score, 0.01), (bbox_pred, 0.001)):
        nn.init.normal_(layer.weight, std=deviation)
        nn.init.zeros_(layer.bias)
    return cls_score, bbox_pred
