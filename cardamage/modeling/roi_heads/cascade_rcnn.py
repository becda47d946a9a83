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

from ..batch import ProposalBatch, TargetBatch, pad, size_tensor
from ..box_regression import Box2BoxTransform
from ..custom import batched, call, regions_stay_apart, takes_batches
from ..matcher import Matcher
from ..proposal_generator.proposal_utils import gather_boxes
from .base import ROI_HEADS_REGISTRY, common_channels, make_pooler, pool_regions
from .box_head import build_box_head
from .detection import detections_of, predicted_boxes, predicted_probs
from .fast_rcnn import FastRCNNOutputLayers
from .hard_negatives import with_hardness
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
        heads, predictors = [], []
        for weights in node.BBOX_REG_WEIGHTS:
            heads.append(build_box_head(cfg, shape))
            transform = Box2BoxTransform(weights=weights)
            predictors.append(FastRCNNOutputLayers(cfg, heads[-1].output_shape, box2box_transform=transform))
        return {
            "box_in_features": names,
            "box_pooler": make_pooler(cfg.MODEL.ROI_BOX_HEAD, input_shape, names),
            "box_heads": heads,
            "box_predictors": predictors,
            "proposal_matchers": [Matcher([iou], [0, 1]) for iou in node.IOUS],
        }

    @batched
    def _run_stage(self, features: Sequence[torch.Tensor], proposals: Sequence[Instances], stage: int) -> Any:
        """Predict for a stage's proposals, from the feature maps."""
        batch = ProposalBatch.of(proposals)
        regions = pool_regions(self.box_pooler, features, batch.rows(), len(batch))
        if self.training:
            # The losses of all stages add up; the features are to feel their mean.
            regions = _ScaleGradient.apply(regions, 1.0 / self.num_cascade_stages)
        return self.box_predictor[stage](self.box_head[stage](regions))

    def _with_hardness(self, features: Features, proposals: Sequence[Instances]) -> ProposalBatch:
        """Look at all proposals as the first stage sees them; the others learn on what it makes of them."""
        parts = [self.box_pooler, self.box_head[0], self.box_predictor[0]]
        if not takes_batches(self._run_stage):
            proposals = ProposalBatch.of(proposals).exact()
        maps = [features[name] for name in self.box_in_features]

        def predict(batch: ProposalBatch) -> Any:
            return call(self._run_stage, maps, batch, 0)

        return with_hardness(self, proposals, parts, self.box_predictor[0], predict)

    def _stages(
        self, features: Features, batch: ProposalBatch, truth: TargetBatch | None
    ) -> list[tuple[Any, ProposalBatch]]:
        """Run all stages: each one's predictions and the proposals they are about."""
        apart = regions_stay_apart([self.box_pooler, self.box_head, self.box_predictor])
        if not apart or not takes_batches(self._run_stage):
            batch = batch.exact()
        maps = [features[name] for name in self.box_in_features]
        outputs: list[tuple[Any, ProposalBatch]] = []
        for stage in range(self.num_cascade_stages):
            if stage > 0:
                batch = self._next_proposals(batch, outputs[-1][0], stage - 1)
                if truth is not None:
                    batch = ProposalBatch.of(call(self._match_and_label_boxes, batch, stage, truth))
            outputs.append((call(self._run_stage, maps, batch, stage), batch))
        return outputs

    @torch.no_grad()
    def _next_proposals(self, batch: ProposalBatch, predictions: Any, stage: int) -> ProposalBatch:
        """Make proposals of the boxes a stage predicts."""
        padded = batch.spread(predicted_boxes(self.box_predictor[stage], predictions, batch))
        return self._proposals(padded, batch.valid, batch.image_sizes, batch.fixed)

    @torch.no_grad()
    def _create_proposals_from_boxes(
        self, boxes: Sequence[torch.Tensor], image_sizes: Sequence[tuple[int, int]]
    ) -> list[Instances]:
        """Make proposals of every image's (Ri, 4) boxes, for an own :meth:`_forward_box`."""
        return list(self._proposals(*pad(boxes), image_sizes, fixed=False))

    def _proposals(
        self,
        padded: torch.Tensor,
        valid: torch.Tensor,
        image_sizes: Sequence[tuple[int, int]],
        fixed: bool | None,
    ) -> ProposalBatch:
        padded = torch.minimum(padded.clamp(min=0), size_tensor(image_sizes, padded.device)[:, None])
        if self.training:
            # In inference even an empty box stays, so that the stages' scores remain aligned.
            valid = valid & (padded[..., 2:] > padded[..., :2]).all(dim=2)
        return ProposalBatch(padded, valid, image_sizes, fixed=fixed)

    @batched
    @torch.no_grad()
    def _match_and_label_boxes(
        self, proposals: Sequence[Instances], stage: int, targets: Sequence[Instances]
    ) -> ProposalBatch:
        """Match a stage's proposals with the ground truth, by the stage's own threshold."""
        batch, truth = ProposalBatch.of(proposals), TargetBatch.of(targets)
        matches, labels = self._match(batch, truth, self.proposal_matchers[stage])
        classes = self._padded_classes(matches, labels, batch, truth)
        self._log_samples(classes, prefix=f"stage{stage}/")
        boxes = gather_boxes(truth.boxes, matches)
        return replace(
            batch, gt_classes=classes, gt_boxes=boxes, gt_index=matches, targets=truth, instances=None
        )

    def _box_losses(
        self, features: Features, sampled: Sequence[Instances], targets: Sequence[Instances]
    ) -> dict[str, torch.Tensor]:
        return call(self._forward_box, features, sampled, targets)

    @batched
    def _forward_box(
        self,
        features: Features,
        proposals: Sequence[Instances],
        targets: Sequence[Instances] | None = None,
    ) -> Any:
        """Detect boxes: in training all stages' losses (masks learn on the first one's proposals)."""
        batch = ProposalBatch.of(proposals)
        if not self.training:
            return self._detect(self._stages(features, batch, None))
        if targets is None:
            raise ValueError("a cascade's box heads need the ground truth in training")
        truth = TargetBatch.of(targets, batch.boxes.device)
        losses = {}
        for stage, (predictions, samples) in enumerate(self._stages(features, batch, truth)):
            with get_event_storage().name_scope(f"stage{stage}"):
                stage_losses = call(self.box_predictor[stage].losses, predictions, samples)
            losses.update({f"{name}_stage{stage}": loss for name, loss in stage_losses.items()})
        return losses

    def _detect(self, outputs: Sequence[tuple[Any, ProposalBatch]]) -> Sequence[Instances]:
        """Choose detections by the stages' mean scores, with the last stage's boxes."""
        pairs = zip(self.box_predictor, outputs, strict=True)
        scores = [predicted_probs(predictor, *output) for predictor, output in pairs]
        mean = torch.stack(scores).sum(dim=0) * (1.0 / self.num_cascade_stages)
        last, (predictions, batch) = self.box_predictor[-1], outputs[-1]
        return detections_of(last, predicted_boxes(last, predictions, batch), mean, batch)


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
