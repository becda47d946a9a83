"""Feature pyramids (Lin et al., https://arxiv.org/abs/1612.03144)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from fvcore.nn import weight_init
from torch import nn

from cardamage.absent import absent_names
from cardamage.errors import ConfigValueError
from cardamage.layers import Conv2d, ShapeSpec, get_norm
from cardamage.utils.compiling import region

from .backbone import Backbone
from .build import BACKBONE_REGISTRY
from .resnet import build_resnet_backbone

__all__ = ["FPN", "LastLevelMaxPool", "LastLevelP6P7", "build_resnet_fpn_backbone", "pyramid_on"]

__getattr__ = absent_names(__name__)


class FPN(Backbone):
    """A pyramid ``p2``, ``p3``, ... on top of a network's feature maps."""

    def __init__(
        self,
        bottom_up: Backbone,
        in_features: Sequence[str],
        out_channels: int,
        norm: str = "",
        top_block: nn.Module | None = None,
        fuse_type: str = "sum",
        square_pad: int = 0,
        out_features: Sequence[str] = (),
    ) -> None:
        """Put the pyramid on top of a network.

        Args:
            bottom_up: the network below.
            in_features: its outputs to use, finest first; each twice the stride of the last.
            out_channels: channels of every level.
            norm: the normalization, see :func:`cardamage.layers.get_norm`.
            top_block: makes further, coarser levels; has ``num_levels`` and ``in_feature``.
            fuse_type: ``"sum"`` or ``"avg"``: how a coarser level is merged into a finer one.
            square_pad: the side of the square that images must be padded to; 0 for none.
            out_features: the levels wanted, ``p2`` and so on; by default all. What only others need is
                left out.

        Raises:
            ConfigValueError: strides that do not double, an unknown ``fuse_type``, an unknown level.
        """
        super().__init__()
        shapes: dict[str, Any] = bottom_up.output_shape()
        strides = [shapes[name].stride for name in in_features]
        _check_strides(in_features, strides)
        if fuse_type not in ("sum", "avg"):
            raise ConfigValueError(f'MODEL.FPN.FUSE_TYPE is "{fuse_type}", but must be "sum" or "avg"')
        merged = [int(math.log2(stride)) for stride in strides]
        top = [merged[-1] + 1 + i for i in range(getattr(top_block, "num_levels", 0))]
        wanted = _wanted_levels([*merged, *top], out_features)
        if not wanted & set(top):
            top_block = None
        self._output_levels = [
            level for level in merged if level in wanted or _feeds(top_block, level, in_features)
        ]
        # Coarser levels are merged into finer ones, never the other way.
        first = next((i for i, level in enumerate(merged) if level in self._output_levels), len(merged))
        self.in_features = tuple(in_features[first:])
        self._levels = merged[first:]
        for name, level in zip(self.in_features, self._levels, strict=True):
            lateral, output = _level_convs(shapes[name].channels, out_channels, norm)
            self.add_module(f"fpn_lateral{level}", lateral)
            if level in self._output_levels:
                self.add_module(f"fpn_output{level}", output)
        self.top_block = top_block
        self.bottom_up = bottom_up
        self._top_levels = top if top_block is not None else []
        self._out_feature_strides = {f"p{level}": 2**level for level in [*merged, *top] if level in wanted}
        self._out_features = list(self._out_feature_strides)
        self._out_feature_channels = dict.fromkeys(self._out_features, out_channels)
        self._size_divisibility: int = strides[-1]
        self._square_pad = square_pad
        self._fuse_type = fuse_type

    @property
    def size_divisibility(self) -> int:
        """The coarsest merged level's stride, so that levels align when one is doubled."""
        return self._size_divisibility

    @property
    def padding_constraints(self) -> dict[str, int]:
        """The square to pad to, if any."""
        return {"square_size": self._square_pad}

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        """Compute the pyramid.

        Args:
            x: (N, C, H, W) normalized images.

        Returns:
            ``p2``, ``p3``, ... by name, finest first.
        """
        below = self.bottom_up(x)
        results = self._merge({name: below[name] for name in self.in_features})
        maps = {f"p{level}": result for level, result in zip(self._output_levels, results, strict=True)}
        if self.top_block is not None:
            source = str(self.top_block.in_feature)
            further = self.top_block(below[source] if source in below else maps[source])
            maps.update({f"p{level}": x for level, x in zip(self._top_levels, further, strict=True)})
        return {name: maps[name] for name in self._out_features}

    @region
    def _merge(self, below: dict[str, torch.Tensor]) -> list[torch.Tensor]:
        """Compute the merged levels, finest first, from the maps of the network below."""
        results: list[torch.Tensor] = []
        merged: torch.Tensor | None = None
        for name, level in zip(reversed(self.in_features), reversed(self._levels), strict=True):
            lateral = getattr(self, f"fpn_lateral{level}")(below[name])
            if merged is not None:
                lateral = lateral + F.interpolate(merged, scale_factor=2.0, mode="nearest")
                if self._fuse_type == "avg":
                    lateral = lateral / 2
            merged = lateral
            if level in self._output_levels:
                results.insert(0, getattr(self, f"fpn_output{level}")(merged))
        return results


def _wanted_levels(levels: Sequence[int], names: Sequence[str]) -> set[int]:
    known = {f"p{level}": level for level in levels}
    unknown = [name for name in names if name not in known]
    if unknown:
        raise ConfigValueError(
            f"MODEL.FPN.OUT_FEATURES is {list(names)}, but must name some of the pyramid's {list(known)}"
        )
    return {known[name] for name in names} or set(levels)


def _feeds(top_block: nn.Module | None, level: int, in_features: Sequence[str]) -> bool:
    """Tell whether further levels are made of a level."""
    return getattr(top_block, "in_feature", None) == f"p{level}" and f"p{level}" not in in_features


def _check_strides(names: Sequence[str], strides: Sequence[int]) -> None:
    for finer, coarser in zip(strides, strides[1:], strict=False):
        if coarser != 2 * finer:
            raise ConfigValueError(
                f"MODEL.FPN.IN_FEATURES {list(names)} have the strides {list(strides)}, which do not double"
            )


def _level_convs(in_channels: int, out_channels: int, norm: str) -> tuple[Conv2d, Conv2d]:
    """The 1x1 layer into the pyramid and the 3x3 layer out of it."""
    lateral = Conv2d(
        in_channels, out_channels, kernel_size=1, bias=norm == "", norm=get_norm(norm, out_channels)
    )
    output = Conv2d(
        out_channels,
        out_channels,
        kernel_size=3,
        padding=1,
        bias=norm == "",
        norm=get_norm(norm, out_channels),
    )
    weight_init.c2_xavier_fill(lateral)
    weight_init.c2_xavier_fill(output)
    return lateral, output


class LastLevelMaxPool(nn.Module):
    """``p6`` as every second pixel of ``p5``."""

    num_levels = 1
    in_feature = "p5"

    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        """Return the one further level."""
        return [F.max_pool2d(x, kernel_size=1, stride=2)]


class LastLevelP6P7(nn.Module):
    """``p6`` and ``p7`` by strided convolutions, as RetinaNet has them."""

    num_levels = 2

    def __init__(self, in_channels: int, out_channels: int, in_feature: str = "res5") -> None:
        """Make the two layers.

        Args:
            in_channels: channels of ``in_feature``.
            out_channels: channels of both levels.
            in_feature: the map they start from.
        """
        super().__init__()
        self.in_feature = in_feature
        self.p6 = nn.Conv2d(in_channels, out_channels, 3, 2, 1)
        self.p7 = nn.Conv2d(out_channels, out_channels, 3, 2, 1)
        for layer in (self.p6, self.p7):
            weight_init.c2_xavier_fill(layer)

    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        """Return the two further levels."""
        p6 = self.p6(x)
        return [p6, self.p7(F.relu(p6))]


def pyramid_on(bottom_up: Backbone, cfg: Any) -> FPN:
    """Put the pyramid that ``MODEL.FPN`` describes on a network, and ``p6`` for the proposals.

    Args:
        bottom_up: the network.
        cfg: the config tree.

    Returns:
        The backbone.

    Raises:
        ConfigValueError: maps that the network doesn't give, or whose strides don't double.
    """
    node = cfg.MODEL.FPN
    given = list(bottom_up.output_shape())
    unknown = [name for name in node.IN_FEATURES if name not in given]
    if unknown or not node.IN_FEATURES:
        raise ConfigValueError(
            f"MODEL.FPN.IN_FEATURES is {list(node.IN_FEATURES)}, but must name one or more of {given}, which "
            "the trunk gives"
        )
    return FPN(
        bottom_up=bottom_up,
        in_features=node.IN_FEATURES,
        out_channels=node.OUT_CHANNELS,
        norm=node.NORM,
        top_block=LastLevelMaxPool(),
        fuse_type=node.FUSE_TYPE,
        out_features=node.OUT_FEATURES,
    )


@BACKBONE_REGISTRY.register()
def build_resnet_fpn_backbone(cfg: Any, input_shape: ShapeSpec) -> FPN:
    """Build a ResNet with a pyramid of ``MODEL.FPN``, and ``p6`` for the proposals.

    Args:
        cfg: the config tree.
        input_shape: the image's channels.

    Returns:
        The backbone.
    """
    return pyramid_on(build_resnet_backbone(cfg, input_shape), cfg)
