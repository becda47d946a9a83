"""ResNet (He et al., https://arxiv.org/abs/1512.03385) with outputs at every stage."""

from __future__ import annotations

from typing import Any

from cardamage.errors import ConfigValueError
from cardamage.layers import CNNBlockBase, ShapeSpec

from .blocks import BasicBlock, BasicStem, BottleneckBlock, DeformBottleneckBlock
from .build import BACKBONE_REGISTRY
from .staged import StagedTrunk, stem_norm

__all__ = [
    "BasicBlock",
    "BasicStem",
    "BottleneckBlock",
    "DeformBottleneckBlock",
    "ResNet",
    "ResNetBlockBase",
    "build_resnet_backbone",
    "make_stage",
]

ResNetBlockBase = CNNBlockBase

_BLOCKS_BY_DEPTH = {
    18: (2, 2, 2, 2),
    34: (3, 4, 6, 3),
    50: (3, 4, 6, 3),
    101: (3, 4, 23, 3),
    152: (3, 8, 36, 3),
}
_SHALLOW = (18, 34)


class ResNet(StagedTrunk):
    """A stem and up to four stages ``res2`` .. ``res5``, optionally with a classifier on top."""

    @staticmethod
    def make_stage(
        block_class: type[CNNBlockBase],
        num_blocks: int,
        *,
        in_channels: int,
        out_channels: int,
        **kwargs: Any,
    ) -> list[CNNBlockBase]:
        """Make the blocks of one stage.

        Args:
            block_class: the kind of block.
            num_blocks: how many.
            in_channels: channels that go into the stage.
            out_channels: channels that come out of every block.
            **kwargs: arguments of the blocks; one that ends in ``_per_block`` is a sequence
                with a value for each block.

        Returns:
            The blocks in order.

        Raises:
            ValueError: a ``_per_block`` argument of the wrong length, or given both ways.
        """
        suffix = "_per_block"
        per_block = {k.removesuffix(suffix): v for k, v in kwargs.items() if k.endswith(suffix)}
        common = {k: v for k, v in kwargs.items() if not k.endswith(suffix)}
        for name, values in per_block.items():
            if len(values) != num_blocks or name in common:
                raise ValueError(f"make_stage needs {name}{suffix} once, with {num_blocks} values")
        return [
            block_class(
                in_channels=in_channels if i == 0 else out_channels,
                out_channels=out_channels,
                **common,
                **{name: values[i] for name, values in per_block.items()},
            )
            for i in range(num_blocks)
        ]

    @staticmethod
    def make_default_stages(
        depth: int, block_class: type[CNNBlockBase] | None = None, **kwargs: Any
    ) -> list[list[CNNBlockBase]]:
        """Make the four stages of a standard ResNet.

        Args:
            depth: 18, 34, 50, 101 or 152.
            block_class: the kind of block; by default the depth's own.
            **kwargs: arguments of the blocks, but for strides and channels.

        Returns:
            The blocks of ``res2`` .. ``res5``.
        """
        shallow = depth in _SHALLOW
        block_class = block_class or (BasicBlock if shallow else BottleneckBlock)
        outs = [(64 if shallow else 256) << i for i in range(4)]
        stages = []
        for i, (num_blocks, cout) in enumerate(zip(_BLOCKS_BY_DEPTH[depth], outs, strict=True)):
            if not shallow:
                kwargs["bottleneck_channels"] = cout // 4
            stages.append(
                ResNet.make_stage(
                    block_class,
                    num_blocks,
                    in_channels=64 if i == 0 else outs[i - 1],
                    out_channels=cout,
                    stride_per_block=[1 if i == 0 else 2] + [1] * (num_blocks - 1),
                    **kwargs,
                )
            )
        return stages


def make_stage(*args: Any, **kwargs: Any) -> list[CNNBlockBase]:
    """Call :meth:`ResNet.make_stage`; the older of its two names."""
    return ResNet.make_stage(*args, **kwargs)


def _check_config(node: Any) -> None:
    """Refuse what a ResNet of this depth can't be."""
    if node.DEPTH not in _BLOCKS_BY_DEPTH:
        raise ConfigValueError(
            f"MODEL.RESNETS.DEPTH is {node.DEPTH}, but must be one of {sorted(_BLOCKS_BY_DEPTH)}"
        )
    if node.RES5_DILATION not in (1, 2):
        raise ConfigValueError(f"MODEL.RESNETS.RES5_DILATION is {node.RES5_DILATION}, but must be 1 or 2")
    if node.DEPTH not in _SHALLOW:
        return
    needed = {"RES2_OUT_CHANNELS": 64, "RES5_DILATION": 1, "NUM_GROUPS": 1}
    for key, value in needed.items():
        if node[key] != value:
            raise ConfigValueError(
                f"MODEL.RESNETS.{key} is {node[key]}, but a ResNet of depth {node.DEPTH} needs {value}"
            )
    if any(node.DEFORM_ON_PER_STAGE):
        raise ConfigValueError(
            f"MODEL.RESNETS.DEFORM_ON_PER_STAGE must be all False in a ResNet of depth {node.DEPTH}"
        )


def _stage_arguments(node: Any, stage: int) -> dict[str, Any]:
    """The arguments of :meth:`ResNet.make_stage` for stage 0 (``res2``) to 3 (``res5``)."""
    num_blocks = _BLOCKS_BY_DEPTH[node.DEPTH][stage]
    dilation = node.RES5_DILATION if stage == 3 else 1
    stride = 1 if stage == 0 or dilation == 2 else 2
    out_channels = node.RES2_OUT_CHANNELS << stage
    arguments: dict[str, Any] = {
        "block_class": BasicBlock,
        "num_blocks": num_blocks,
        "in_channels": node.STEM_OUT_CHANNELS if stage == 0 else out_channels // 2,
        "out_channels": out_channels,
        "stride_per_block": [stride] + [1] * (num_blocks - 1),
        "norm": node.NORM,
    }
    if node.DEPTH in _SHALLOW:
        return arguments
    arguments |= {
        "block_class": BottleneckBlock,
        "bottleneck_channels": (node.NUM_GROUPS * node.WIDTH_PER_GROUP) << stage,
        "stride_in_1x1": node.STRIDE_IN_1X1,
        "dilation": dilation,
        "num_groups": node.NUM_GROUPS,
    }
    if node.DEFORM_ON_PER_STAGE[stage]:
        arguments |= {
            "block_class": DeformBottleneckBlock,
            "deform_modulated": node.DEFORM_MODULATED,
            "deform_num_groups": node.DEFORM_NUM_GROUPS,
        }
    return arguments


@BACKBONE_REGISTRY.register()
def build_resnet_backbone(cfg: Any, input_shape: ShapeSpec) -> ResNet:
    """Build the ResNet that ``cfg.MODEL.RESNETS`` describes.

    Args:
        cfg: the config tree.
        input_shape: the image's channels.

    Returns:
        The network, frozen up to ``MODEL.BACKBONE.FREEZE_AT``.

    Raises:
        ConfigValueError: values that do not go together.
    """
    node = cfg.MODEL.RESNETS
    _check_config(node)
    channels: Any = input_shape.channels
    stem = BasicStem(channels, node.STEM_OUT_CHANNELS, node.NORM)
    # All of them, though ResNet drops those without use: so a seed gives the weights it gives in Detectron2.
    stages = [ResNet.make_stage(**_stage_arguments(node, i)) for i in range(4)]
    return ResNet(
        stem,
        stages,
        out_features=node.OUT_FEATURES,
        freeze_at=cfg.MODEL.BACKBONE.FREEZE_AT,
        stem_norm=stem_norm(cfg),
    )
