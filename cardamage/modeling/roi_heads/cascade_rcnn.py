"""Box heads in a row, each on the boxes of the last (Cascade R-CNN, https://arxiv.org/abs/1712.00726)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from cardamage.config import configurable
from cardamage.errors import ConfigValueError
from cardamage.layers import ShapeSpec
from cardamage.structures import Instances
from cardamage.utils.events import get_event_storage

from ..batch import ProposalBatch, TargetBatch, size_tensor
from ..box_regression import Box2BoxTransform
from ..matcher import Matcher
from .base import ROI_HEADS_REGISTRY, common_channels, make_pooler
from .box_head import build_box_head
from .fast_rcnn import FastRCNNOutputLayers, Predictions
from .roi_heads import Features, StandardROIHeads

__all__ = ["CascadeROIHeads"]


class _ScaleGradient(torch.autograd.Function):
    """The identity, with a scaled gradient."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, scale: float) -> torch.Tensor:
        ctx.scale = scale
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor, None]:
        return grads[0] * ctx.scale, None


@ROI_HEADS_REGISTRY.register()
class CascadeROIHeads(StandardROIHeads):
    """Stages with rising overlap thresholds; scores are the stages' mean, boxes the last stage's."""

    # Lists here, one entry a stage.
    box_head: nn.ModuleList
    box_predictor: Any

    @configurable
    def __init__(
        self,
        *,
        box_heads: Sequence[nn.Module],
        box_predictors: Sequence[nn.Module],
        proposal_matchers: Sequence[Matcher],
        **kwargs: Any,
    ) -> None:
        """Put the stages together.

        Args:
            box_heads: a box head for every stage.
            box_predictors: its predictor.
            proposal_matchers: its matcher; the first matches the proposals.
            **kwargs: as for :class:`StandardROIHeads`, without the above.

        Raises:
            ConfigValueError: lists of different lengths.
        """
        self.num_cascade_stages = len(box_heads)
        if not len(box_heads) == len(box_predictors) == len(proposal_matchers):
            raise ConfigValueError("a cascade needs a head, a predictor and a matcher for every stage")
        super().__init__(
            box_head=nn.ModuleList(box_heads),
            box_predictor=nn.ModuleList(box_predictors),
            proposal_matcher=proposal_matchers[0],
            **kwargs,
        )
        self.proposal_matchers = list(proposal_matchers)

    @classmethod
    def from_config(cls, cfg: Any, input_shape: Any = None) -> dict[str, Any]:
        """Read ``MODEL.ROI_BOX_CASCADE_HEAD`` and what :class:`StandardROIHeads` reads."""
        arguments = super().from_config(cfg, input_shape)
        arguments.pop("proposal_matcher")
        return arguments

    @classmethod
    def _init_box_head(cls, cfg: Any, input_shape: Mapping[str, ShapeSpec]) -> dict[str, Any]:
        names = cfg.MODEL.ROI_HEADS.IN_FEATURES
        node = cfg.MODEL.ROI_BOX_CASCADE_HEAD
        _check_config(cfg)
        size = cfg.MODEL.ROI_BOX_HEAD.POOLER_RESOLUTION
        shape = ShapeSpec(channels=common_channels(input_shape, names), height=size, width=size)
        heads = [build_box_head(cfg, shape) for _ in node.IOUS]
        return {
            "box_in_features": names,
            "box_pooler": make_pooler(cfg.MODEL.ROI_BOX_HEAD, input_shape, names),
            "box_heads": heads,
            "box_predictors": [
                FastRCNNOutputLayers(cfg, head.output_shape, box2box_transform=Box2BoxTransform(weights))
                for head, weights in zip(heads, node.BBOX_REG_WEIGHTS, strict=True)
            ],
            "proposal_matchers": [Matcher([iou], [0, 1]) for iou in node.IOUS],
        }

    def _run_stage(self, features: Features, batch: ProposalBatch, stage: int) -> Predictions:
        maps = [features[name] for name in self.box_in_features]
        regions = self.box_pooler(maps, batch.rows())
        if self.training:
            # The losses of all stages add up; the features are to feel their mean.
            regions = _ScaleGradient.apply(regions, 1.0 / self.num_cascade_stages)
        return self.box_predictor[stage](self.box_head[stage](regions))

    def _stages(
        self, features: Features, batch: ProposalBatch, truth: TargetBatch | None
    ) -> list[tuple[Predictions, ProposalBatch]]:
        """Run all stages: each one's predictions and the proposals they are about."""
        outputs: list[tuple[Predictions, ProposalBatch]] = []
        for stage in range(self.num_cascade_stages):
            if stage > 0:
                batch = self._next_proposals(batch, outputs[-1][0], stage - 1)
                if truth is not None:
                    batch = self._match(batch, truth, stage)
            outputs.append((self._run_stage(features, batch, stage), batch))
        return outputs

    @torch.no_grad()
    def _next_proposals(self, batch: ProposalBatch, predictions: Predictions, stage: int) -> ProposalBatch:
        """Make proposals of the boxes a stage predicts."""
        boxes, _ = self.box_predictor[stage].predict_rows(predictions, batch.rows())
        padded = batch.spread(boxes)
        padded = torch.minimum(padded.clamp(min=0), size_tensor(batch.image_sizes, padded.device)[:, None])
        valid = batch.valid
        if self.training:
            # In inference even an empty box stays, so that the stages' scores remain aligned.
            valid = valid & (padded[..., 2:] > padded[..., :2]).all(dim=2)
        return ProposalBatch(padded, valid, batch.image_sizes, fixed=batch.fixed)

    @torch.no_grad()
    def _match(self, batch: ProposalBatch, truth: TargetBatch, stage: int) -> ProposalBatch:
        """Match a stage's proposals with the ground truth, by the stage's own threshold."""
        matches, classes = self.match_classes(batch, truth, self.proposal_matchers[stage])
        self._log_samples(classes, prefix=f"stage{stage}/")
        boxes = truth.boxes.gather(1, matches[:, :, None].expand(-1, -1, 4))
        return replace(batch, gt_classes=classes, gt_boxes=boxes, gt_index=matches, targets=truth)

    def _box_losses(
        self, features: Features, batch: ProposalBatch
    ) -> tuple[dict[str, torch.Tensor], ProposalBatch]:
        losses = {}
        for stage, (predictions, proposals) in enumerate(self._stages(features, batch, batch.targets)):
            with get_event_storage().name_scope(f"stage{stage}"):
                stage_losses = self.box_predictor[stage].losses(predictions, proposals)
            losses.update({f"{name}_stage{stage}": loss for name, loss in stage_losses.items()})
        # Masks are learned on the first stage's proposals.
        return losses, batch

    def _forward_box(self, features: Features, proposals: Sequence[Instances]) -> Sequence[Instances]:
        batch = ProposalBatch.of(proposals)
        outputs = self._stages(features, batch, None)
        scores = [p.predict_scores(out[0][0]) for p, out in zip(self.box_predictor, outputs, strict=True)]
        last = self.box_predictor[-1]
        predictions, batch = outputs[-1]
        boxes, _ = last.predict_rows(predictions, batch.rows())
        mean = torch.stack(scores).sum(dim=0) * (1.0 / self.num_cascade_stages)
        return last.detections(boxes, mean, batch)[0]


def _check_config(cfg: Any) -> None:
    """Refuse what a cascade can't be."""
    node = cfg.MODEL.ROI_BOX_CASCADE_HEAD
    if not cfg.MODEL.ROI_BOX_HEAD.CLS_AGNOSTIC_BBOX_REG:
        raise ConfigValueError("CascadeROIHeads needs MODEL.ROI_BOX_HEAD.CLS_AGNOSTIC_BBOX_REG True")
    if len(node.BBOX_REG_WEIGHTS) != len(node.IOUS) or node.IOUS[0] != cfg.MODEL.ROI_HEADS.IOU_THRESHOLDS[0]:
        raise ConfigValueError(
            "MODEL.ROI_BOX_CASCADE_HEAD needs as many BBOX_REG_WEIGHTS as IOUS, and the first of IOUS must "
            "be MODEL.ROI_HEADS.IOU_THRESHOLDS[0]"
        )
