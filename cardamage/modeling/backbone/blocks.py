"""The stem and the residual blocks of ResNet (He et al., https://arxiv.org/abs/1512.03385)."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from fvcore.nn import weight_init
from torch import nn

from cardamage.layers import CNNBlockBase, Conv2d, DeformConv, ModulatedDeformConv, get_norm

__all__ = ["BasicBlock", "BasicStem", "BottleneckBlock", "DeformBottleneckBlock"]

# A normalization's name as in ``MODEL.RESNETS.NORM``, or a callable from channels to a module.
Norm = Any


def _conv_norm(cin: int, cout: int, kernel: int, norm: Norm, **kwargs: Any) -> Conv2d:
    """A convolution without bias, followed by its normalization."""
    return Conv2d(cin, cout, kernel_size=kernel, bias=False, norm=get_norm(norm, cout), **kwargs)


class _ResidualBlock(CNNBlockBase):
    """The part all residual blocks share: ``relu(branch(x) + shortcut(x))``."""

    def __init__(self, in_channels: int, out_channels: int, stride: int, norm: Norm) -> None:
        super().__init__(in_channels, out_channels, stride)
        same = in_channels == out_channels
        self.shortcut = None if same else _conv_norm(in_channels, out_channels, 1, norm, stride=stride)

    def _initialize(self, *layers: nn.Module) -> None:
        """He-initialize the layers and the shortcut.

        After all of them were made, and in this order: so a seed gives the weights it gives in Detectron2.
        """
        for layer in layers if self.shortcut is None else (*layers, self.shortcut):
            weight_init.c2_msra_fill(layer)

    def branch(self, x: torch.Tensor) -> torch.Tensor:
        """Compute the residual, before the addition."""
        raise NotImplementedError

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map (N, in_channels, H, W) to (N, out_channels, H / stride, W / stride)."""
        out = self.branch(x)
        out = out + (x if self.shortcut is None else self.shortcut(x))
        return F.relu_(out)


class BasicBlock(_ResidualBlock):
    """Two 3x3 convolutions: the block of ResNet-18 and ResNet-34."""

    def __init__(self, in_channels: int, out_channels: int, *, stride: int = 1, norm: Norm = "BN") -> None:
        """Make the block.

        Args:
            in_channels: channels of the input.
            out_channels: channels of both convolutions.
            stride: stride of the first convolution.
            norm: the normalization, see :func:`cardamage.layers.get_norm`.
        """
        super().__init__(in_channels, out_channels, stride, norm)
        self.conv1 = _conv_norm(in_channels, out_channels, 3, norm, stride=stride, padding=1)
        self.conv2 = _conv_norm(out_channels, out_channels, 3, norm, padding=1)
        self._initialize(self.conv1, self.conv2)

    def branch(self, x: torch.Tensor) -> torch.Tensor:
        """Compute the residual, before the addition."""
        return self.conv2(F.relu_(self.conv1(x)))


class BottleneckBlock(_ResidualBlock):
    """1x1, 3x3 and 1x1 convolutions: the block of ResNet-50 and deeper, and of ResNeXt."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        bottleneck_channels: int,
        stride: int = 1,
        num_groups: int = 1,
        norm: Norm = "BN",
        stride_in_1x1: bool = False,
        dilation: int = 1,
    ) -> None:
        """Make the block.

        Args:
            in_channels: channels of the input.
            out_channels: channels of the output.
            bottleneck_channels: channels of the 3x3 convolution.
            stride: the block's stride.
            num_groups: groups of the 3x3 convolution (ResNeXt).
            norm: the normalization, see :func:`cardamage.layers.get_norm`.
            stride_in_1x1: put the stride in the first 1x1 convolution (the original weights of
                MSRA) instead of the 3x3 one (torchvision's).
            dilation: dilation of the 3x3 convolution.
        """
        super().__init__(in_channels, out_channels, stride, norm)
        first, second = (stride, 1) if stride_in_1x1 else (1, stride)
        self.conv1 = _conv_norm(in_channels, bottleneck_channels, 1, norm, stride=first)
        self._make_middle(bottleneck_channels, norm, stride=second, dilation=dilation, groups=num_groups)
        self.conv3 = _conv_norm(bottleneck_channels, out_channels, 1, norm)
        self._initialize(self.conv1, self.conv2, self.conv3)

    def _make_middle(self, channels: int, norm: Norm, *, stride: int, dilation: int, groups: int) -> None:
        """Add the 3x3 layer; a subclass may use another kind."""
        self.conv2 = _conv_norm(
            channels, channels, 3, norm, stride=stride, padding=dilation, dilation=dilation, groups=groups
        )

    def middle(self, x: torch.Tensor) -> torch.Tensor:
        """Run the 3x3 layer."""
        return self.conv2(x)

    def branch(self, x: torch.Tensor) -> torch.Tensor:
        """Compute the residual, before the addition."""
        out = F.relu_(self.conv1(x))
        return self.conv3(F.relu_(self.middle(out)))


class DeformBottleneckBlock(BottleneckBlock):
    """A bottleneck whose 3x3 layer is deformable (https://arxiv.org/abs/1703.06211, v2: 1811.11168)."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        deform_modulated: bool = False,
        deform_num_groups: int = 1,
        **kwargs: Any,
    ) -> None:
        """Make the block.

        Args:
            in_channels: channels of the input.
            out_channels: channels of the output.
            deform_modulated: also learn a weight for every sampled point (version 2).
            deform_num_groups: groups of channels that have offsets of their own.
            **kwargs: as for :class:`BottleneckBlock`.
        """
        # Before the base's constructor, which calls _make_middle.
        self._deform = (deform_modulated, deform_num_groups)
        super().__init__(in_channels, out_channels, **kwargs)
        self.deform_modulated = deform_modulated

    def _make_middle(self, channels: int, norm: Norm, *, stride: int, dilation: int, groups: int) -> None:
        modulated, deform_groups = self._deform
        values_a_point = 3 if modulated else 2
        geometry: dict[str, Any] = {
            "kernel_size": 3,
            "stride": stride,
            "padding": dilation,
            "dilation": dilation,
        }
        self.conv2_offset = Conv2d(channels, values_a_point * 9 * deform_groups, **geometry)
        # Zero offsets: the layer begins as an ordinary convolution.
        nn.init.zeros_(self.conv2_offset.weight)
        assert self.conv2_offset.bias is not None
        nn.init.zeros_(self.conv2_offset.bias)
        layer = ModulatedDeformConv if modulated else DeformConv
        self.conv2 = layer(
            channels,
            channels,
            bias=False,
            groups=groups,
            deformable_groups=deform_groups,
            norm=get_norm(norm, channels),
            **geometry,
        )

    def middle(self, x: torch.Tensor) -> torch.Tensor:
        """Run the deformable layer with the offsets (and weights) it learns from its input."""
        predicted = self.conv2_offset(x)
        if not self.deform_modulated:
            return self.conv2(x, predicted)
        first, second, mask = predicted.chunk(3, dim=1)
        return self.conv2(x, torch.cat([first, second], dim=1), mask.sigmoid())


class BasicStem(CNNBlockBase):
    """A 7x7 convolution and a max pooling: what comes before the first residual block, stride 4."""

    def __init__(self, in_channels: int = 3, out_channels: int = 64, norm: Norm = "BN") -> None:
        """Make the stem.

        Args:
            in_channels: channels of the image.
            out_channels: channels of the output.
            norm: the normalization, see :func:`cardamage.layers.get_norm`.
        """
        super().__init__(in_channels, out_channels, 4)
        self.conv1 = _conv_norm(in_channels, out_channels, 7, norm, stride=2, padding=3)
        weight_init.c2_msra_fill(self.conv1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map (N, in_channels, H, W) to (N, out_channels, H / 4, W / 4)."""
        return F.max_pool2d(F.relu_(self.conv1(x)), kernel_size=3, stride=2, padding=1)
