"""The layers of the region proposal network."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from cardamage.config import configurable
from cardamage.errors import ConfigValueError
from cardamage.layers import Conv2d, ShapeSpec
from cardamage.modeling.registry import Registry

from ..anchor_generator import build_anchor_generator

__all__ = ["RPN_HEAD_REGISTRY", "StandardRPNHead", "build_rpn_head"]

RPN_HEAD_REGISTRY = Registry("RPN_HEAD", "MODEL.RPN.HEAD_NAME")
RPN_HEAD_REGISTRY.__doc__ = "Callables ``(cfg, input_shape) -> module``, chosen by ``MODEL.RPN.HEAD_NAME``."


def build_rpn_head(cfg: Any, input_shape: Sequence[ShapeSpec]) -> nn.Module:
    """Build the head that ``cfg.MODEL.RPN.HEAD_NAME`` names.

    Args:
        cfg: the config tree.
        input_shape: the feature maps' shapes.

    Returns:
        A module from feature maps to logits and offsets.
    """
    return RPN_HEAD_REGISTRY.get(cfg.MODEL.RPN.HEAD_NAME)(cfg, input_shape)


@RPN_HEAD_REGISTRY.register()
class StandardRPNHead(nn.Module):
    """3x3 convolutions, then one 1x1 for objectness and one for offsets; the same on every level."""

    @configurable
    def __init__(
        self, *, in_channels: int, num_anchors: int, box_dim: int = 4, conv_dims: Sequence[int] = (-1,)
    ) -> None:
        """Make the layers.

        Args:
            in_channels: channels of every feature map.
            num_anchors: anchors of a cell.
            box_dim: numbers that tell a box.
            conv_dims: channels of the 3x3 layers; -1 for as many as go in.

        Raises:
            ConfigValueError: channels that are not positive.
        """
        super().__init__()
        channels = in_channels
        convs = []
        for dim in conv_dims:
            out_channels = channels if dim == -1 else dim
            if out_channels <= 0:
                raise ConfigValueError(f"MODEL.RPN.CONV_DIMS {list(conv_dims)} must be positive, or -1")
            convs.append(Conv2d(channels, out_channels, kernel_size=3, padding=1, activation=nn.ReLU()))
            channels = out_channels
        # One layer is called ``conv``, several ``conv.conv0``, ``conv.conv1``: checkpoints know them so.
        self.conv: nn.Module = convs[0] if len(convs) == 1 else nn.Sequential()
        if len(convs) > 1:
            for i, conv in enumerate(convs):
                self.conv.add_module(f"conv{i}", conv)
        self.objectness_logits = nn.Conv2d(channels, num_anchors, kernel_size=1)
        self.anchor_deltas = nn.Conv2d(channels, num_anchors * box_dim, kernel_size=1)
        for layer in (*convs, self.objectness_logits, self.anchor_deltas):
            nn.init.normal_(layer.weight, std=0.01)
            nn.init.constant_(layer.get_parameter("bias"), 0)

    @classmethod
    def from_config(cls, cfg: Any, input_shape: Sequence[ShapeSpec]) -> dict[str, Any]:
        """Read ``MODEL.RPN.CONV_DIMS`` and the anchors' number."""
        channels: set[Any] = {shape.channels for shape in input_shape}
        generator: Any = build_anchor_generator(cfg, input_shape)
        num_anchors: set[Any] = set(generator.num_anchors)
        if len(channels) != 1 or len(num_anchors) != 1:
            raise ConfigValueError(
                "the feature maps of MODEL.RPN.IN_FEATURES must have the same number of channels and "
                f"of anchors, but have {sorted(channels)} and {sorted(num_anchors)}"
            )
        return {
            "in_channels": channels.pop(),
            "num_anchors": num_anchors.pop(),
            "box_dim": generator.box_dim,
            "conv_dims": cfg.MODEL.RPN.CONV_DIMS,
        }

    def forward(self, features: Sequence[torch.Tensor]) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
        """Predict for every anchor.

        Args:
            features: per level (N, C, Hi, Wi).

        Returns:
            Per level the logits (N, A, Hi, Wi) and the offsets (N, A * box_dim, Hi, Wi).
        """
        hidden = [self.conv(x) for x in features]
        return [self.objectness_logits(h) for h in hidden], [self.anchor_deltas(h) for h in hidden]
