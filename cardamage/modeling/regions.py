"""Which parts of a model are worth compiling."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from torch import nn

from cardamage.layers import LocalResponseNorm, NaiveSyncBatchNorm
from cardamage.utils.compiling import Compiler

from .backbone.blocks import BasicBlock, BasicStem, BottleneckBlock, DeformBottleneckBlock
from .backbone.convnext import ConvNeXtBlock, Downsample, PatchStem
from .backbone.vgg import VGGBlock, VGGStem
from .meta_arch.preprocessing import ImageModel
from .proposal_generator.rpn_head import StandardRPNHead
from .roi_heads.box_head import FastRCNNConvFCHead
from .roi_heads.fast_rcnn import FastRCNNOutputLayers

__all__ = ["compile_model"]

logger = logging.getLogger(__name__)

# Exactly these: what a class of a user's own does besides is unknown.
_REGIONS = (
    BasicStem,
    BasicBlock,
    BottleneckBlock,
    DeformBottleneckBlock,
    VGGStem,
    VGGBlock,
    PatchStem,
    Downsample,
    ConvNeXtBlock,
    LocalResponseNorm,
    StandardRPNHead,
    FastRCNNConvFCHead,
    FastRCNNOutputLayers,
)
# They talk to other processes in between.
_TALKING = (nn.SyncBatchNorm, NaiveSyncBatchNorm)


def compile_model(
    model: nn.Module,
    training: bool = True,
    inference: bool = False,
    backend: str | Callable[..., Any] = "inductor",
) -> bool:
    """Have a model compile its parts when they first run: trunk, pyramid, heads, and functions around them.

    The numbers are those of plain torch but for rounding. Names in checkpoints stay as they are; copies and
    pickles of the model are plain ones. See docs/decisions/010-compiled-training.md.

    Args:
        model: a model of this package, not its DDP wrapper; another one stays as it is.
        training: whether training is compiled; False undoes it.
        inference: whether inference is compiled, too, which takes a compilation of its own; False undoes it.
        backend: what ``torch.compile`` takes.

    Returns:
        Whether the model is compiled from now on.
    """
    if not isinstance(model, ImageModel):
        logger.info("MODEL.COMPILE has no effect on %s, which is not of this package.", type(model).__name__)
        return False
    compiler = Compiler(backend) if training or inference else None
    model.train_compiler = compiler if training else None
    model.test_compiler = compiler if inference else None
    if compiler is not None:
        compiler.install(module for module in model.modules() if _is_region(module))
    return compiler is not None


def _is_region(module: nn.Module) -> bool:
    talks = any(isinstance(part, _TALKING) for part in module.modules())
    return type(module) in _REGIONS and not talks
