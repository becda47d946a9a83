"""ConvNeXt (Liu et al., https://arxiv.org/abs/2201.03545), as torchvision has it, without its classifier."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import nn
from torchvision.ops import StochasticDepth
from typing_extensions import Self

from cardamage.errors import ConfigValueError
from cardamage.layers import CNNBlockBase, Conv2d, ShapeSpec

from .build import BACKBONE_REGISTRY
from .fpn import FPN, pyramid_on
from .staged import StagedTrunk, stem_norm

__all__ = [
    "ChannelNorm",
    "ConvNeXt",
    "ConvNeXtBlock",
    "Downsample",
    "PatchStem",
    "build_convnext_backbone",
    "build_convnext_fpn_backbone",
]

# Blocks of the four stages, and channels of the first; each further stage has twice as many.
SIZES = {
    "tiny": ((3, 3, 9, 3), 96),
    "small": ((3, 3, 27, 3), 96),
    "base": ((3, 3, 27, 3), 128),
    "large": ((3, 3, 27, 3), 192),
}
_EPS = 1e-6


def _initialize(*layers: nn.Conv2d | nn.Linear) -> None:
    for layer in layers:
        nn.init.trunc_normal_(layer.weight, std=0.02)
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)


class ChannelNorm(nn.LayerNorm):
    """Layer normalization over the channels at each place of an (N, C, H, W) map, never in half precision."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """Map (N, C, H, W) to the same shape."""
        x = input.permute(0, 2, 3, 1).to(self.weight.dtype)
        x = F.layer_norm(x, self.normalized_shape, self.weight, self.bias, self.eps)
        return x.permute(0, 3, 1, 2)


class PatchStem(CNNBlockBase):
    """A convolution of squares of 4 x 4 pixels that don't overlap, and a normalization."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        """Make the stem.

        Args:
            in_channels: channels of the image.
            out_channels: channels of the output.
        """
        super().__init__(in_channels, out_channels, 4)
        norm = ChannelNorm(out_channels, eps=_EPS)
        self.conv1 = Conv2d(in_channels, out_channels, 4, stride=4, norm=norm)
        _initialize(self.conv1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map (N, in_channels, H, W) to (N, out_channels, H / 4, W / 4)."""
        return self.conv1(x)


class Downsample(CNNBlockBase):
    """A normalization and a 2x2 convolution of stride 2: what a stage begins with."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        """Make the block.

        Args:
            in_channels: channels of the input.
            out_channels: channels of the output.
        """
        super().__init__(in_channels, out_channels, 2)
        self.norm = ChannelNorm(in_channels, eps=_EPS)
        self.conv = Conv2d(in_channels, out_channels, 2, stride=2)
        _initialize(self.conv)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map (N, in_channels, H, W) to (N, out_channels, H / 2, W / 2)."""
        return self.conv(self.norm(x))


class ConvNeXtBlock(CNNBlockBase):
    """A 7x7 convolution of each channel by itself, then two layers over the channels of each place."""

    def __init__(self, channels: int, layer_scale: float = 1e-6, drop_path: float = 0.0) -> None:
        """Make the block.

        Args:
            channels: of the input and of the output.
            layer_scale: the factor that each channel of the block's result begins with, before it is added
                to the input.
            drop_path: the probability that a picture skips the block in training.
        """
        super().__init__(channels, channels, 1)
        self.conv = Conv2d(channels, channels, 7, padding=3, groups=channels)
        self.norm = nn.LayerNorm(channels, eps=_EPS)
        self.fc1 = nn.Linear(channels, 4 * channels)
        self.fc2 = nn.Linear(4 * channels, channels)
        self.layer_scale = nn.Parameter(torch.full((channels, 1, 1), layer_scale))
        self.drop_path = StochasticDepth(drop_path, "row")
        _initialize(self.conv, self.fc1, self.fc2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map (N, C, H, W) to the same shape."""
        y = self.conv(x).permute(0, 2, 3, 1)
        y = self.norm(y.to(self.norm.weight.dtype))
        y = self.fc2(F.gelu(self.fc1(y))).permute(0, 3, 1, 2)
        return x + self.drop_path(self.layer_scale * y)

    def freeze(self) -> Self:
        """Stop training the block, and skipping it at random."""
        self.drop_path.p = 0.0
        return super().freeze()


class ConvNeXt(StagedTrunk):
    """The stem and the first stage have stride 4, and each further stage halves the map."""

    config_key = "MODEL.CONVNEXT.OUT_FEATURES"


def _stages(
    blocks: tuple[int, ...], width: int, layer_scale: float, drop_path: float
) -> list[list[CNNBlockBase]]:
    # As in torchvision, the probability to be skipped grows from 0 at the first block to the last.
    rates = iter(drop_path * i / (sum(blocks) - 1) for i in range(sum(blocks)))
    stages = []
    for i, count in enumerate(blocks):
        channels = width << i
        stage: list[CNNBlockBase] = [] if i == 0 else [Downsample(channels // 2, channels)]
        stage += [ConvNeXtBlock(channels, layer_scale, next(rates)) for _ in range(count)]
        stages.append(stage)
    return stages


@BACKBONE_REGISTRY.register()
def build_convnext_backbone(cfg: Any, input_shape: ShapeSpec) -> ConvNeXt:
    """Build the ConvNeXt that ``cfg.MODEL.CONVNEXT`` describes.

    Args:
        cfg: the config tree.
        input_shape: the image's channels.

    Returns:
        The network, frozen up to ``MODEL.BACKBONE.FREEZE_AT``.

    Raises:
        ConfigValueError: a size that ConvNeXt doesn't have, or outputs that aren't there.
    """
    node = cfg.MODEL.CONVNEXT
    if node.SIZE not in SIZES:
        raise ConfigValueError(f"MODEL.CONVNEXT.SIZE is {node.SIZE!r}, but must be one of {list(SIZES)}")
    blocks, width = SIZES[node.SIZE]
    channels: Any = input_shape.channels
    stages = _stages(blocks, width, node.LAYER_SCALE, node.DROP_PATH)
    return ConvNeXt(
        PatchStem(channels, width),
        stages,
        out_features=node.OUT_FEATURES,
        freeze_at=cfg.MODEL.BACKBONE.FREEZE_AT,
        stem_norm=stem_norm(cfg),
    )


@BACKBONE_REGISTRY.register()
def build_convnext_fpn_backbone(cfg: Any, input_shape: ShapeSpec) -> FPN:
    """Build a ConvNeXt with a pyramid of ``MODEL.FPN``, and ``p6`` for the proposals.

    Args:
        cfg: the config tree.
        input_shape: the image's channels.

    Returns:
        The backbone.
    """
    return pyramid_on(build_convnext_backbone(cfg, input_shape), cfg)
