"""What every backbone offers to the rest of the model."""

from abc import ABCMeta, abstractmethod

import torch
from torch import nn

from cardamage.layers import ShapeSpec

__all__ = ["Backbone"]


class Backbone(nn.Module, metaclass=ABCMeta):
    """A network from an image batch to named feature maps.

    A subclass either fills ``_out_features``, ``_out_feature_channels`` and ``_out_feature_strides``
    or overrides :meth:`output_shape`.
    """

    _out_features: list[str]
    _out_feature_channels: dict[str, int]
    _out_feature_strides: dict[str, int]

    @abstractmethod
    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        """Compute the feature maps.

        Args:
            x: (N, C, H, W) normalized images.

        Returns:
            Feature maps (N, C', H / stride, W / stride) by name, finest first.
        """

    @property
    def size_divisibility(self) -> int:
        """The number that height and width must be multiples of; 0 where any size will do."""
        return 0

    @property
    def padding_constraints(self) -> dict[str, int]:
        """Further rules for padding, passed to ``ImageList.from_tensors`` (``square_size``)."""
        return {}

    def output_shape(self) -> dict[str, ShapeSpec]:
        """Return the channels and the stride of every feature map, by name."""
        return {
            name: ShapeSpec(channels=self._out_feature_channels[name], stride=self._out_feature_strides[name])
            for name in self._out_features
        }
