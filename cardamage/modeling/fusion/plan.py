"""Which parts of a model have a fused form."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn

from ..backbone.blocks import BasicBlock, BasicStem, BottleneckBlock, DeformBottleneckBlock
from ..backbone.convnext import ConvNeXtBlock
from ..backbone.fpn import FPN
from ..poolers import ROIPooler
from ..proposal_generator.rpn import RPN
from ..proposal_generator.rpn_head import StandardRPNHead
from ..roi_heads.box_head import FastRCNNConvFCHead
from ..roi_heads.coarse_mask_head import CoarseMaskFCHead
from ..roi_heads.fast_rcnn import FastRCNNOutputLayers
from ..roi_heads.mask_head import MaskRCNNConvUpsampleHead
from ..roi_heads.point_head import PointHead
from . import backbone, heads, points
from .leaves import Kernels, conv_forward
from .overflow import Overflow, watched_proposals
from .overrides import Overrides, has_hooks

__all__ = ["is_ours", "plan_fusion"]

_OURS = ("cardamage.", "torch.nn.", "torchvision.ops.")
_BLOCKS = (BasicBlock, BottleneckBlock, DeformBottleneckBlock)


def is_ours(module: nn.Module) -> bool:
    """Tell whether a module is of this package or torch's, not of a user's own class."""
    return type(module).__module__.startswith(_OURS)


def plan_fusion(
    model: nn.Module, dtype: torch.dtype, device: torch.device, winograd: bool = False
) -> Overrides:
    """Find the fused form of every part that has one.

    Only parts whose class is exactly one of this package's or torch's are replaced, and of a user's own
    modules only the parts of ours inside. Where somebody watches calls with a hook, calls stay as they are.

    Args:
        model: the model, in evaluation mode.
        dtype: what the fused parts compute in; everything between them takes what it is given.
        device: where the model is.
        winograd: whether wide 3x3 convolutions may be computed with fewer products.

    Returns:
        The overrides, not applied; they hold weights of their own.
    """
    plan = _Plan(Kernels.of(dtype, device, winograd), device)
    with torch.no_grad():
        plan.visit(model)
    return plan.overrides


class _Plan:
    def __init__(self, kernels: Kernels, device: torch.device) -> None:
        self.kernels, self.device = kernels, device
        self.overrides = Overrides(Overflow() if kernels.dtype == torch.float16 else None)
        self._rules: dict[type, Callable[[Any], bool]] = {
            BasicStem: self._stem,
            ConvNeXtBlock: self._convnext_block,
            FPN: self._fpn,
            RPN: self._rpn,
            StandardRPNHead: self._rpn_head,
            FastRCNNConvFCHead: self._box_head,
            FastRCNNOutputLayers: self._predictor,
            MaskRCNNConvUpsampleHead: self._mask_head,
            CoarseMaskFCHead: self._coarse_head,
            PointHead: self._point_head,
            ROIPooler: self._pooler,
            nn.Sequential: self._sequence,
        }
        self._rules.update({kind: self._block for kind in _BLOCKS})

    def visit(self, module: nn.Module) -> None:
        """Plan for a module and what is inside it."""
        children = list(module.children())
        rule = self._rules.get(type(module))
        if rule is not None and not any(map(has_hooks, children)) and rule(module):
            return
        ours = is_ours(module)
        for child in children:
            if ours or type(child).__module__.startswith("cardamage.modeling."):
                self.visit(child)
            elif not is_ours(child):
                self.visit(child)
        forward = conv_forward(module, self.kernels)
        if forward is not None:
            self.overrides.add(module, forward)

    def _put(self, module: nn.Module, forward: Any, name: str = "forward") -> bool:
        if forward is not None:
            self.overrides.add(module, forward, name)
        return forward is not None

    def _stem(self, stem: BasicStem) -> bool:
        return self._put(stem, backbone.fused_stem(stem, self.kernels))

    def _block(self, block: nn.Module, keeps_input: bool = True) -> bool:
        done = self._put(block, backbone.fused_block(block, self.kernels, keeps_input))
        if not done and type(block) is DeformBottleneckBlock:
            return self._put(block, backbone.float_block(block))
        return done

    def _convnext_block(self, block: ConvNeXtBlock) -> bool:
        return self._put(block, backbone.fused_convnext_block(block, self.kernels))

    def _sequence(self, sequence: nn.Sequential) -> bool:
        blocks = list(sequence)
        if not blocks or any(type(block) not in _BLOCKS for block in blocks):
            return False
        for i, block in enumerate(blocks):
            # What one block hands to the next, nobody else sees.
            if not self._block(block, keeps_input=i == 0):
                for child in block.children():
                    self.visit(child)
        return True

    def _fpn(self, fpn: FPN) -> bool:
        if not self._put(fpn, backbone.fused_merge(fpn, self.kernels), "_merge"):
            return False
        self._visit_all([fpn.bottom_up] if fpn.top_block is None else [fpn.bottom_up, fpn.top_block])
        return True

    def _visit_all(self, modules: Sequence[nn.Module]) -> None:
        for module in modules:
            self.visit(module)

    def _rpn(self, rpn: RPN) -> bool:
        if self.overrides.overflow is not None:
            self._put(rpn, watched_proposals(rpn, self.overrides.overflow), "predict_proposals")
        return False

    def _rpn_head(self, head: StandardRPNHead) -> bool:
        return self._put(head, heads.fused_rpn_head(head, self.kernels))

    def _box_head(self, head: FastRCNNConvFCHead) -> bool:
        return self._put(head, heads.fused_box_head(head, self.kernels))

    def _predictor(self, predictor: FastRCNNOutputLayers) -> bool:
        return self._put(predictor, heads.float_predictor(predictor, self.overrides.overflow))

    def _mask_head(self, head: MaskRCNNConvUpsampleHead) -> bool:
        layers = heads.fused_mask_layers(head, self.kernels, self.overrides.overflow)
        return self._put(head, layers, "layers")

    def _coarse_head(self, head: CoarseMaskFCHead) -> bool:
        for layer, forward in points.fused_coarse_rows(head, self.kernels):
            self._put(layer, forward)
        return False

    def _point_head(self, head: PointHead) -> bool:
        return self._put(
            head, points.fused_point_layers(head, self.kernels, self.overrides.overflow), "layers"
        )

    def _pooler(self, pooler: ROIPooler) -> bool:
        if self.device.type != "cpu":
            known = pooler.common_geometry() is not None
            return known or self._put(pooler, heads.pool_float(pooler, "_pool_masked"), "_pool_masked")
        return self._put(pooler, heads.pool_bags(pooler) or heads.pool_float(pooler), "_pool_indexed")
