"""VGG (Simonyan and Zisserman, https://arxiv.org/abs/1409.1556) as torchvision has it, but its classifier."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from fvcore.nn import weight_init
from torch import nn

from cardamage.errors import ConfigValueError
from cardamage.layers import CNNBlockBase, Conv2d, ShapeSpec, get_norm

from .blocks import Norm
from .build import BACKBONE_REGISTRY
from .fpn import FPN, pyramid_on
from .staged import StagedTrunk, stem_norm

__all__ = ["VGG", "VGGBlock", "VGGPool", "VGGStem", "build_vgg_backbone", "build_vgg_fpn_backbone"]

# Convolutions between one pooling and the next.
LAYERS_BY_DEPTH = {11: (1, 1, 2, 2, 2), 13: (2, 2, 2, 2, 2), 16: (2, 2, 3, 3, 3), 19: (2, 2, 4, 4, 4)}
_CHANNELS = (64, 128, 256, 512, 512)


def _layer(in_channels: int, out_channels: int, norm: Norm) -> Conv2d:
    """A 3x3 convolution, its normalization and a ReLU."""
    layer = Conv2d(
        in_channels,
        out_channels,
        3,
        padding=1,
        norm=get_norm(norm, out_channels),
        activation=nn.ReLU(inplace=True),
    )
    weight_init.c2_msra_fill(layer)
    return layer


class VGGStem(CNNBlockBase):
    """The layers up to stride 2: the first two groups of convolutions, with a pooling between them."""

    def __init__(self, in_channels: int, layers: tuple[int, int], norm: Norm) -> None:
        """Make the stem.

        Args:
            in_channels: channels of the image.
            layers: convolutions before and after the pooling.
            norm: the normalization, see :func:`cardamage.layers.get_norm`.
        """
        super().__init__(in_channels, _CHANNELS[1], 2)
        self.before_pooling = layers[0]
        for i in range(sum(layers)):
            out_channels = _CHANNELS[i >= layers[0]]
            self.add_module(f"conv{i + 1}", _layer(in_channels, out_channels, norm))
            in_channels = out_channels

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map (N, in_channels, H, W) to (N, 128, H / 2, W / 2)."""
        for i, layer in enumerate(self.children()):
            x = layer(F.max_pool2d(x, 2) if i == self.before_pooling else x)
        return x


class VGGBlock(CNNBlockBase):
    """One convolution, with a pooling before it where a stage begins."""

    def __init__(self, in_channels: int, out_channels: int, *, stride: int = 1, norm: Norm = "") -> None:
        """Make the block.

        Args:
            in_channels: channels of the input.
            out_channels: channels of the output.
            stride: 2 pools the input.
            norm: the normalization, see :func:`cardamage.layers.get_norm`.
        """
        super().__init__(in_channels, out_channels, stride)
        self.conv = _layer(in_channels, out_channels, norm)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map (N, in_channels, H, W) to (N, out_channels, H / stride, W / stride)."""
        return self.conv(F.max_pool2d(x, 2) if self.stride == 2 else x)


class VGGPool(CNNBlockBase):
    """The last pooling."""

    def __init__(self, channels: int) -> None:
        """Make the block for so many channels."""
        super().__init__(channels, channels, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map (N, C, H, W) to (N, C, H / 2, W / 2)."""
        return F.max_pool2d(x, 2)


class VGG(StagedTrunk):
    """Stages by their stride, each with its last layer as output.

    ``res2``, ``res3`` and ``res4`` (strides 4, 8, 16) end with VGG-16's conv3_3, conv4_3, conv5_3; ``res5``
    (stride 32) is the last pooling. What comes before stride 4 is the stem.
    """

    config_key = "MODEL.VGG.OUT_FEATURES"


def _stages(layers: tuple[int, ...], norm: Norm) -> list[list[CNNBlockBase]]:
    stages: list[list[CNNBlockBase]] = []
    for i in range(2, 5):
        sizes = [_CHANNELS[i - 1], *[_CHANNELS[i]] * layers[i]]
        stages.append(
            [
                VGGBlock(cin, cout, stride=2 if k == 0 else 1, norm=norm)
                for k, (cin, cout) in enumerate(zip(sizes, sizes[1:], strict=False))
            ]
        )
    return [*stages, [VGGPool(_CHANNELS[-1])]]


@BACKBONE_REGISTRY.register()
def build_vgg_backbone(cfg: Any, input_shape: ShapeSpec) -> VGG:
    """Build the VGG that ``cfg.MODEL.VGG`` describes.

    Args:
        cfg: the config tree.
        input_shape: the image's channels.

    Returns:
        The network, frozen up to ``MODEL.BACKBONE.FREEZE_AT``: 1 stands for what comes before stride 4.

    Raises:
        ConfigValueError: a depth that VGG doesn't have, or outputs that aren't there.
    """
    node = cfg.MODEL.VGG
    if node.DEPTH not in LAYERS_BY_DEPTH:
        raise ConfigValueError(
            f"MODEL.VGG.DEPTH is {node.DEPTH}, but must be one of {sorted(LAYERS_BY_DEPTH)}"
        )
    layers = LAYERS_BY_DEPTH[node.DEPTH]
    channels: Any = input_shape.channels
    stem = VGGStem(channels, layers[:2], node.NORM)
    stages = _stages(layers, node.NORM)
    return VGG(
        stem,
        stages,
        out_features=node.OUT_FEATURES,
        freeze_at=cfg.MODEL.BACKBONE.FREEZE_AT,
        stem_norm=stem_norm(cfg),
    )


@BACKBONE_REGISTRY.register()
def build_vgg_fpn_backbone(cfg: Any, input_shape: ShapeSpec) -> FPN:
    """Build a VGG with a pyramid of ``MODEL.FPN``, and ``p6`` for the proposals.

    Args:
        cfg: the config tree.
        input_shape: the image's channels.

    Returns:
        The backbone.
    """
    return pyramid_on(build_vgg_backbone(cfg, input_shape), cfg)
