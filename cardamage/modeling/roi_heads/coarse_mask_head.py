"""The small first mask of PointRend (https://arxiv.org/abs/1912.08193, appendix A)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from fvcore.nn import weight_init
from torch import nn

from cardamage.config import configurable
from cardamage.layers import Conv2d, ShapeSpec
from cardamage.utils.compiling import region

from .mask_head import BaseMaskRCNNHead

__all__ = ["CoarseMaskFCHead"]


class CoarseMaskFCHead(BaseMaskRCNNHead):
    """A mask of few cells from linear layers on the whole region, as a box head computes boxes."""

    @configurable
    def __init__(
        self,
        input_shape: ShapeSpec,
        *,
        num_classes: int,
        conv_dim: int,
        fc_dims: Sequence[int],
        side: int,
        **kwargs: Any,
    ) -> None:
        """Make the layers.

        Args:
            input_shape: the shape of a region's features, of even sides.
            num_classes: number of classes without background; 1 where masks serve all classes.
            conv_dim: channels that wider features are reduced to.
            fc_dims: channels of the linear layers.
            side: the mask's side.
            **kwargs: as for :class:`BaseMaskRCNNHead`.
        """
        super().__init__(**kwargs)
        self.output_shape = (num_classes, side, side)
        channels: Any = input_shape.channels
        cells: Any = (input_shape.height or 0) // 2 * ((input_shape.width or 0) // 2)
        convs = []
        if channels > conv_dim:
            self.reduce_channel_dim_conv = Conv2d(channels, conv_dim, kernel_size=1, activation=nn.ReLU())
            convs.append(self.reduce_channel_dim_conv)
            channels = conv_dim
        self.reduce_spatial_dim_conv = Conv2d(
            channels, conv_dim, kernel_size=2, stride=2, activation=nn.ReLU()
        )
        size = conv_dim * cells
        self.fc_names = [f"fc{i}" for i in range(1, len(fc_dims) + 1)]
        for name, dim in zip(self.fc_names, fc_dims, strict=True):
            self.add_module(name, nn.Linear(size, dim))
            size = dim
        self.prediction = nn.Linear(size, num_classes * side * side)
        # After all layers were made, in the order that gives a seed's weights of Detectron2's project.
        nn.init.normal_(self.prediction.weight, std=0.001)
        nn.init.zeros_(self.prediction.bias)
        for conv in (*convs, self.reduce_spatial_dim_conv):
            weight_init.c2_msra_fill(conv)
        for name in self.fc_names:
            weight_init.c2_xavier_fill(self.get_submodule(name))

    @classmethod
    def from_config(cls, cfg: Any, input_shape: ShapeSpec) -> dict[str, Any]:
        """Read ``MODEL.ROI_MASK_HEAD``."""
        node = cfg.MODEL.ROI_MASK_HEAD
        return {
            **super().from_config(cfg, input_shape),
            "input_shape": input_shape,
            "num_classes": 1 if node.CLS_AGNOSTIC_MASK else cfg.MODEL.ROI_HEADS.NUM_CLASSES,
            "conv_dim": node.CONV_DIM,
            "fc_dims": [node.FC_DIM] * node.NUM_FC,
            "side": node.OUTPUT_SIDE_RESOLUTION,
        }

    @region
    def layers(self, x: torch.Tensor) -> torch.Tensor:
        """Compute (M, C, side, side) logits from (M, C', H, W) features."""
        for name, layer in self.named_children():
            if name not in (*self.fc_names, "prediction"):
                x = layer(x)
        # Features are in half precision where the convolutions were fused for it.
        x = x.flatten(1).to(self.prediction.weight.dtype)
        for name in self.fc_names:
            x = F.relu(self.get_submodule(name)(x))
        return self.prediction(x).unflatten(1, self.output_shape)
