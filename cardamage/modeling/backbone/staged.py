"""A trunk of a stem and stages, whatever its blocks: what ResNet, VGG and ConvNeXt have in common."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn
from typing_extensions import Self

from cardamage.errors import ConfigValueError
from cardamage.layers import CNNBlockBase, LocalResponseNorm, ShapeSpec

from .backbone import Backbone

__all__ = ["StagedTrunk", "stem_norm"]

# Parts whose output is not one of the network's.
_BETWEEN = ("stem_norm", "avgpool")


def stem_norm(cfg: Any) -> nn.Module | None:
    """Make the local response normalization behind the stem, if ``MODEL.BACKBONE.STEM_LRN`` asks for it."""
    node = cfg.MODEL.BACKBONE.STEM_LRN
    return LocalResponseNorm(node.SIZE, node.ALPHA, node.BETA, node.K) if node.ENABLED else None


class StagedTrunk(Backbone):
    """A stem and up to four stages ``res2`` .. ``res5``, optionally with a classifier on top."""

    config_key = "MODEL.RESNETS.OUT_FEATURES"

    def __init__(
        self,
        stem: CNNBlockBase,
        stages: Sequence[Sequence[CNNBlockBase]],
        num_classes: int | None = None,
        out_features: Sequence[str] | None = None,
        freeze_at: int = 0,
        stem_norm: nn.Module | None = None,
    ) -> None:
        """Put the network together.

        Args:
            stem: the layers before the first stage.
            stages: the blocks of every stage, ``res2`` first. Stages after the last wanted
                output are left out.
            num_classes: add average pooling and a linear classifier of so many classes.
            out_features: the outputs wanted, of ``stem``, ``res2`` .. ``res5``, ``linear``; by
                default only the last.
            freeze_at: how many of stem, ``res2``, ... are frozen, see :meth:`freeze`.
            stem_norm: a layer without weights behind the stem, see :func:`stem_norm`.

        Raises:
            ConfigValueError: an output that the network does not have.
        """
        super().__init__()
        self.stem = stem
        self.stem_norm = stem_norm
        self.num_classes = num_classes
        self._out_feature_strides = {"stem": stem.stride}
        self._out_feature_channels = {"stem": stem.out_channels}
        names = [f"res{i + 2}" for i in range(len(stages))]
        if out_features is not None and "linear" not in out_features:
            # A layer whose output nobody uses costs memory and never gets a gradient.
            names = names[: max((names.index(f) + 1 for f in out_features if f in names), default=0)]
        self.stage_names = tuple(names)
        last = "stem"
        for name, blocks in zip(names, stages, strict=False):
            self.add_module(name, nn.Sequential(*blocks))
            stride = math.prod(block.stride for block in blocks)
            self._out_feature_strides[name] = self._out_feature_strides[last] * stride
            self._out_feature_channels[name] = blocks[-1].out_channels
            last = name
        if num_classes is not None:
            last = self._add_classifier(self._out_feature_channels[last], num_classes)
        self._out_features = [last] if out_features is None else list(out_features)
        self._check_outputs()
        self.freeze(freeze_at)

    def _add_classifier(self, channels: int, num_classes: int) -> str:
        self.avgpool = nn.AdaptiveAvgPool2d((1, 1))
        self.linear = nn.Linear(channels, num_classes)
        nn.init.normal_(self.linear.weight, std=0.01)
        return "linear"

    def _check_outputs(self) -> None:
        known = [name for name, _ in self.named_children() if name not in _BETWEEN]
        unknown = [name for name in self._out_features if name not in known]
        if unknown or not self._out_features:
            raise ConfigValueError(
                f"{self.config_key} {list(self._out_features)} must name one or more of {known}"
            )

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        """Compute the wanted outputs.

        Args:
            x: (N, C, H, W) normalized images.

        Returns:
            The feature maps by name.
        """
        x = self.stem(x)
        if self.stem_norm is not None:
            x = self.stem_norm(x)
        outputs = {"stem": x}
        for name, part in self.named_children():
            if name in self.stage_names:
                x = outputs[name] = part(x)
        if self.num_classes is not None:
            outputs["linear"] = self.linear(self.avgpool(x).flatten(1))
        return {name: outputs[name] for name in self._out_features}

    def output_shape(self) -> dict[str, ShapeSpec]:
        """Return the channels and the stride of every output, by name."""
        return {
            name: ShapeSpec(
                channels=self._out_feature_channels.get(name, self.num_classes),
                stride=self._out_feature_strides.get(name),
            )
            for name in self._out_features
        }

    def freeze(self, freeze_at: int = 0) -> Self:
        """Freeze the first parts: their weights get no gradient, their BatchNorm becomes frozen.

        Args:
            freeze_at: 1 freezes the stem, 2 also ``res2``, and so on; 0 nothing.

        Returns:
            This network.
        """
        if freeze_at >= 1:
            self.stem.freeze()
        for name in self.stage_names[: max(freeze_at - 1, 0)]:
            for block in getattr(self, name).children():
                block.freeze()
        return self
