"""The heads of a feature pyramid: separate poolers and layers for boxes and masks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn

from cardamage.absent import absent_names
from cardamage.config import configurable
from cardamage.errors import ConfigValueError
from cardamage.layers import ShapeSpec
from cardamage.structures import ImageList, Instances

from ..batch import ProposalBatch
from ..custom import as_list, batched, call, regions_stay_apart, takes_batches
from ..poolers import ROIPooler
from ..proposal_generator.proposal_utils import add_ground_truth_to_proposals
from ..sampling import subsample_labels
from .base import (
    ROI_HEADS_REGISTRY,
    ROIHeads,
    build_roi_heads,
    common_channels,
    make_pooler,
    pool_regions,
    select_foreground_proposals,
)
from .box_head import ROI_BOX_HEAD_REGISTRY, build_box_head
from .detection import detected_regions, infer
from .fast_rcnn import FastRCNNOutputLayers
from .hard_negatives import with_hardness
from .mask_head import ROI_MASK_HEAD_REGISTRY, build_mask_head, takes_feature_maps
from .mask_suppression import thin_detections
from .res5 import Res5ROIHeads

__all__ = [
    "ROI_BOX_HEAD_REGISTRY",
    "ROI_HEADS_REGISTRY",
    "ROI_MASK_HEAD_REGISTRY",
    "ROIHeads",
    "Res5ROIHeads",
    "StandardROIHeads",
    "add_ground_truth_to_proposals",
    "build_box_head",
    "build_mask_head",
    "build_roi_heads",
    "select_foreground_proposals",
    "subsample_labels",
]

__getattr__ = absent_names(__name__)

Features = Mapping[str, torch.Tensor]


@ROI_HEADS_REGISTRY.register()
class StandardROIHeads(ROIHeads):
    """A box head and a mask head that share nothing but the feature maps."""

    box_predictor: Any
    mask_head: Any

    @configurable
    def __init__(
        self,
        *,
        box_in_features: Sequence[str],
        box_pooler: ROIPooler,
        box_head: nn.Module,
        box_predictor: nn.Module,
        mask_in_features: Sequence[str] | None = None,
        mask_pooler: ROIPooler | None = None,
        mask_head: nn.Module | None = None,
        train_on_pred_boxes: bool = False,
        **kwargs: Any,
    ) -> None:
        """Put the heads together.

        Args:
            box_in_features: feature maps of the box head.
            box_pooler: crops the regions for it.
            box_head: from regions to the features of :paramref:`box_predictor`.
            box_predictor: a :class:`FastRCNNOutputLayers`, or of its interface.
            mask_in_features: feature maps of the mask head; None for no masks.
            mask_pooler: crops the regions for it; None to hand it the maps themselves.
            mask_head: a :class:`BaseMaskRCNNHead`, or of its interface.
            train_on_pred_boxes: train the mask head on the boxes that the box head predicts.
            **kwargs: as for :class:`ROIHeads`.
        """
        super().__init__(**kwargs)
        self.in_features = self.box_in_features = list(box_in_features)
        self.box_pooler = box_pooler
        self.box_head = box_head
        self.box_predictor = box_predictor
        self.mask_on = mask_in_features is not None
        if mask_in_features is not None:
            self.mask_in_features = list(mask_in_features)
            self.mask_pooler = mask_pooler
            self.mask_head = mask_head
        self.train_on_pred_boxes = train_on_pred_boxes

    @classmethod
    def from_config(cls, cfg: Any, input_shape: Any = None) -> dict[str, Any]:
        """Read ``MODEL.ROI_HEADS``, ``ROI_BOX_HEAD`` and ``ROI_MASK_HEAD``."""
        if cfg.MODEL.KEYPOINT_ON:
            raise ConfigValueError("MODEL.KEYPOINT_ON is not supported; set it to False")
        return {
            **super().from_config(cfg),
            "train_on_pred_boxes": cfg.MODEL.ROI_BOX_HEAD.TRAIN_ON_PRED_BOXES,
            **cls._init_box_head(cfg, input_shape),
            **cls._init_mask_head(cfg, input_shape),
        }

    @classmethod
    def _init_box_head(cls, cfg: Any, input_shape: Mapping[str, ShapeSpec]) -> dict[str, Any]:
        names = cfg.MODEL.ROI_HEADS.IN_FEATURES
        size = cfg.MODEL.ROI_BOX_HEAD.POOLER_RESOLUTION
        channels = common_channels(input_shape, names)
        head = build_box_head(cfg, ShapeSpec(channels=channels, height=size, width=size))
        return {
            "box_in_features": names,
            "box_pooler": make_pooler(cfg.MODEL.ROI_BOX_HEAD, input_shape, names),
            "box_head": head,
            "box_predictor": FastRCNNOutputLayers(cfg, head.output_shape),
        }

    @classmethod
    def _init_mask_head(cls, cfg: Any, input_shape: Mapping[str, ShapeSpec]) -> dict[str, Any]:
        if not cfg.MODEL.MASK_ON:
            return {}
        names = cfg.MODEL.ROI_HEADS.IN_FEATURES
        node = cfg.MODEL.ROI_MASK_HEAD
        pooler: ROIPooler | None = None
        shape: Any = {name: input_shape[name] for name in names}
        if not takes_feature_maps(cfg):
            pooler = make_pooler(node, input_shape, names)
            size = node.POOLER_RESOLUTION
            shape = ShapeSpec(channels=common_channels(input_shape, names), height=size, width=size)
        return {
            "mask_in_features": names,
            "mask_pooler": pooler,
            "mask_head": build_mask_head(cfg, shape),
        }

    @batched
    def forward(
        self,
        images: ImageList,
        features: Features,
        proposals: Sequence[Instances],
        targets: Sequence[Instances] | None = None,
    ) -> tuple[Sequence[Instances], dict[str, torch.Tensor]]:
        """See :meth:`ROIHeads.forward`."""
        if not self.training:
            found = call(self._forward_box, features, proposals)
            found = call(self.forward_with_given_boxes, features, found)
            return thin_detections(self.box_predictor, found), {}
        if targets is None:
            raise ValueError('the ROI heads need ground truth in training: "instances" in every input')
        if self.hard_negatives:
            proposals = self._with_hardness(features, proposals)
        sampled = call(self.label_and_sample_proposals, proposals, targets)
        if not all(map(takes_batches, (self._forward_box, self._forward_mask, self._forward_keypoint))):
            # One list for all, as one may change the instances for the next.
            sampled = as_list(sampled)
        losses = self._box_losses(features, sampled, targets)
        losses.update(self._forward_mask(features, sampled))
        losses.update(self._forward_keypoint(features, sampled))
        return sampled, losses

    def _with_hardness(self, features: Features, proposals: Sequence[Instances]) -> ProposalBatch:
        """Look at all proposals before some are chosen; see :mod:`.hard_negatives`."""
        parts = [self.box_pooler, self.box_head, self.box_predictor]
        maps = [features[name] for name in self.box_in_features]

        def predict(batch: ProposalBatch) -> Any:
            pooled = pool_regions(self.box_pooler, maps, batch.rows(), len(batch))
            return self.box_predictor(self.box_head(pooled))

        return with_hardness(self, proposals, parts, self.box_predictor, predict)

    def _box_losses(
        self, features: Features, sampled: Sequence[Instances], targets: Sequence[Instances]
    ) -> dict[str, torch.Tensor]:
        return self._forward_box(features, sampled)

    @batched
    def forward_with_given_boxes(
        self, features: Features, instances: Sequence[Instances]
    ) -> Sequence[Instances]:
        """Add masks to known boxes.

        Args:
            features: the backbone's maps by name.
            instances: per image ``pred_boxes`` and ``pred_classes``, or a batch of detections.

        Returns:
            The instances with ``pred_masks`` (Ri, 1, M, M) probabilities.
        """
        return call(self._forward_keypoint, features, call(self._forward_mask, features, instances))

    @batched
    def _forward_box(self, features: Features, proposals: Sequence[Instances]) -> Any:
        """Detect boxes.

        Args:
            features: the backbone's maps by name.
            proposals: the proposals of N images, in training sampled ones.

        Returns:
            In training the losses, else N instances. Where masks are to be trained on predicted boxes,
            the proposals get these.
        """
        batch = ProposalBatch.of(proposals)
        if not regions_stay_apart([self.box_pooler, self.box_head, self.box_predictor]):
            batch = batch.exact()
        maps = [features[name] for name in self.box_in_features]
        pooled = pool_regions(self.box_pooler, maps, batch.rows(), len(batch))
        predictions = self.box_predictor(self.box_head(pooled))
        if not self.training:
            return infer(self.box_predictor, predictions, batch)
        losses = call(self.box_predictor.losses, predictions, batch)
        if self.train_on_pred_boxes:
            self._train_on(proposals, predictions, batch)
        return losses

    @torch.no_grad()
    def _train_on(self, proposals: Sequence[Instances], predictions: Any, batch: ProposalBatch) -> None:
        """Put the boxes that are predicted for the proposals' classes in their place."""
        if takes_batches(self.box_predictor.predict_boxes_for_gt_classes):
            boxes = self.box_predictor.gt_class_boxes(predictions, batch.rows())
        else:
            boxes = torch.cat(list(self.box_predictor.predict_boxes_for_gt_classes(predictions, list(batch))))
        batch.set_boxes(boxes)
        if isinstance(proposals, ProposalBatch) and proposals is not batch:
            proposals.fixed = batch.fixed
            proposals.set_boxes(boxes)

    @batched
    def _forward_mask(self, features: Features, instances: Any) -> Any:
        """Compute the mask loss of sampled proposals, or add masks to detections."""
        if not self.mask_on:
            return {} if self.training else instances
        if self.training:
            parts = [part for part in (self.mask_pooler, self.mask_head) if part is not None]
            if isinstance(instances, ProposalBatch) and not regions_stay_apart(parts):
                instances = instances.exact()
            _, regions, instances = self._mask_samples(instances, self.mask_head)
        else:
            parts = [part for part in (self.mask_pooler, self.mask_head) if part is not None]
            instances, regions = detected_regions(instances, parts)
        if self.mask_pooler is None:
            return self.mask_head({name: features[name] for name in self.mask_in_features}, instances)
        maps = [features[name] for name in self.mask_in_features]
        return self.mask_head(pool_regions(self.mask_pooler, maps, regions, len(maps[0])), instances)

    @batched
    def _forward_keypoint(self, features: Features, instances: Any) -> Any:
        """Do nothing: there are no keypoints here, but heads written for Detectron2 call this."""
        return {} if self.training else instances
