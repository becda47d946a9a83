"""The heads of a feature pyramid: separate poolers and layers for boxes and masks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from cardamage.config import configurable
from cardamage.errors import ConfigValueError
from cardamage.layers import ShapeSpec
from cardamage.structures import ImageList, Instances

from ..batch import ProposalBatch
from ..poolers import ROIPooler
from .base import ROI_HEADS_REGISTRY, ROIHeads, build_roi_heads, common_channels, make_pooler
from .box_head import build_box_head
from .fast_rcnn import FastRCNNOutputLayers
from .mask_head import build_mask_head
from .mask_targets import MaskRows

__all__ = [
    "ROI_HEADS_REGISTRY",
    "ROIHeads",
    "StandardROIHeads",
    "build_roi_heads",
    "select_foreground_proposals",
]

Features = Mapping[str, torch.Tensor]


def select_foreground_proposals(
    proposals: Sequence[Instances], bg_label: int
) -> tuple[list[Instances], list[torch.Tensor]]:
    """Keep the proposals that belong to an object, as lists; for heads of one's own.

    Args:
        proposals: per image proposals with ``gt_classes``.
        bg_label: the label of background.

    Returns:
        Per image the foreground proposals, and the bool mask that selects them.
    """
    items = list(proposals)
    masks = [(p.gt_classes != -1) & (p.gt_classes != bg_label) for p in items]
    return [p[mask] for p, mask in zip(items, masks, strict=True)], masks


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
        if node.POOLER_TYPE:
            pooler = make_pooler(node, input_shape, names)
            size = node.POOLER_RESOLUTION
            shape = ShapeSpec(channels=common_channels(input_shape, names), height=size, width=size)
        return {
            "mask_in_features": names,
            "mask_pooler": pooler,
            "mask_head": build_mask_head(cfg, shape),
        }

    def forward(
        self,
        images: ImageList,
        features: Features,
        proposals: Sequence[Instances],
        targets: Sequence[Instances] | None = None,
    ) -> tuple[Sequence[Instances], dict[str, torch.Tensor]]:
        """See :meth:`ROIHeads.forward`."""
        if not self.training:
            return self.forward_with_given_boxes(features, self._forward_box(features, proposals)), {}
        if targets is None:
            raise ValueError('the ROI heads need ground truth in training: "instances" in every input')
        sampled = self.label_and_sample_proposals(proposals, targets)
        losses, sampled = self._box_losses(features, sampled)
        losses.update(self._forward_mask(features, sampled))
        return sampled, losses

    def forward_with_given_boxes(
        self, features: Features, instances: Sequence[Instances]
    ) -> Sequence[Instances]:
        """Add masks to known boxes.

        Args:
            features: the backbone's maps by name.
            instances: per image ``pred_boxes`` and ``pred_classes``.

        Returns:
            The instances with ``pred_masks`` (Ri, 1, M, M) probabilities.
        """
        return self._forward_mask(features, instances)

    def _predict(self, features: Features, batch: ProposalBatch) -> tuple[torch.Tensor, torch.Tensor]:
        maps = [features[name] for name in self.box_in_features]
        return self.box_predictor(self.box_head(self.box_pooler(maps, batch.rows())))

    def _forward_box(self, features: Features, proposals: Sequence[Instances]) -> Sequence[Instances]:
        """Detect boxes."""
        batch = ProposalBatch.of(proposals)
        return self.box_predictor.inference(self._predict(features, batch), batch)[0]

    def _box_losses(
        self, features: Features, batch: ProposalBatch
    ) -> tuple[dict[str, torch.Tensor], ProposalBatch]:
        """Compute the box losses, and the proposals for the mask head."""
        predictions = self._predict(features, batch)
        losses = self.box_predictor.losses(predictions, batch)
        if self.train_on_pred_boxes:
            with torch.no_grad():
                rows = batch.rows()
                assert rows.gt_classes is not None
                boxes, _ = self.box_predictor.predict_rows(predictions, rows)
                own = self.box_predictor._of_class(boxes, rows.gt_classes)
            batch = replace(batch, boxes=batch.spread(own))
        return losses, batch

    def _forward_mask(self, features: Features, instances: Any) -> Any:
        """Compute the mask loss of sampled proposals, or add masks to detections."""
        if not self.mask_on:
            return {} if self.training else instances
        if self.training:
            instances = ProposalBatch.of(instances)
            _, rows = instances.foreground(self.num_classes, self.max_foreground)
            regions: Any = rows
            instances = MaskRows(rows, instances.targets)
        else:
            regions = [x.pred_boxes for x in instances]
        if self.mask_pooler is None:
            return self.mask_head({name: features[name] for name in self.mask_in_features}, instances)
        maps = [features[name] for name in self.mask_in_features]
        return self.mask_head(self.mask_pooler(maps, regions), instances)
