"""The heads of a "C4" network, where boxes and masks share ResNet's last stage."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn

from cardamage.config import configurable
from cardamage.errors import ConfigValueError
from cardamage.layers import ShapeSpec
from cardamage.structures import ImageList, Instances

from ..backbone.resnet import BottleneckBlock, ResNet
from ..batch import ProposalBatch, RoiRows
from ..custom import batched, call, regions_stay_apart, takes_batches
from ..detections import DetectionBatch
from ..poolers import ROIPooler
from .base import ROI_HEADS_REGISTRY, ROIHeads, make_pooler, pool_regions
from .detection import detected_regions, infer
from .fast_rcnn import FastRCNNOutputLayers
from .hard_negatives import with_hardness
from .mask_head import build_mask_head
from .mask_suppression import thin_detections

__all__ = ["Res5ROIHeads"]


@ROI_HEADS_REGISTRY.register()
class Res5ROIHeads(ROIHeads):
    """``res5`` on every region, then the box layers on its mean and the mask layers on it."""

    box_predictor: Any
    mask_head: Any

    @configurable
    def __init__(
        self,
        *,
        in_features: Sequence[str],
        pooler: ROIPooler,
        res5: nn.Module,
        box_predictor: nn.Module,
        mask_head: nn.Module | None = None,
        **kwargs: Any,
    ) -> None:
        """Put the heads together.

        Args:
            in_features: the one feature map.
            pooler: crops the regions.
            res5: the layers that boxes and masks share.
            box_predictor: a :class:`FastRCNNOutputLayers`, or of its interface.
            mask_head: a :class:`BaseMaskRCNNHead`, or of its interface; None for no masks.
            **kwargs: as for :class:`ROIHeads`.
        """
        super().__init__(**kwargs)
        self.in_features = list(in_features)
        self.pooler = pooler
        self.res5 = nn.Sequential(*res5) if isinstance(res5, (list, tuple)) else res5
        self.box_predictor = box_predictor
        self.mask_on = mask_head is not None
        if mask_head is not None:
            self.mask_head = mask_head

    @classmethod
    def from_config(cls, cfg: Any, input_shape: Any = None) -> dict[str, Any]:
        """Read ``MODEL.ROI_HEADS``, ``ROI_BOX_HEAD`` and ``RESNETS``."""
        names = cfg.MODEL.ROI_HEADS.IN_FEATURES
        if len(names) != 1 or cfg.MODEL.KEYPOINT_ON:
            raise ConfigValueError(
                "Res5ROIHeads needs one map in MODEL.ROI_HEADS.IN_FEATURES and MODEL.KEYPOINT_ON False"
            )
        res5, channels = cls._build_res5_block(cfg)
        size = cfg.MODEL.ROI_BOX_HEAD.POOLER_RESOLUTION
        mask_shape = ShapeSpec(channels=channels, height=size, width=size)
        return {
            **super().from_config(cfg),
            "in_features": names,
            "pooler": make_pooler(cfg.MODEL.ROI_BOX_HEAD, input_shape, names),
            "res5": res5,
            "box_predictor": FastRCNNOutputLayers(cfg, ShapeSpec(channels=channels, height=1, width=1)),
            "mask_head": build_mask_head(cfg, mask_shape) if cfg.MODEL.MASK_ON else None,
        }

    @classmethod
    def _build_res5_block(cls, cfg: Any) -> tuple[nn.Sequential, int]:
        node = cfg.MODEL.RESNETS
        if node.DEFORM_ON_PER_STAGE[-1]:
            raise ConfigValueError("MODEL.RESNETS.DEFORM_ON_PER_STAGE must be False for res5 in Res5ROIHeads")
        channels = node.RES2_OUT_CHANNELS * 8
        blocks = ResNet.make_stage(
            BottleneckBlock,
            3,
            in_channels=channels // 2,
            out_channels=channels,
            bottleneck_channels=node.NUM_GROUPS * node.WIDTH_PER_GROUP * 8,
            stride_per_block=[2, 1, 1],
            num_groups=node.NUM_GROUPS,
            norm=node.NORM,
            stride_in_1x1=node.STRIDE_IN_1X1,
        )
        return nn.Sequential(*blocks), channels

    @batched
    def _shared_roi_transform(self, features: Sequence[torch.Tensor], boxes: Any) -> torch.Tensor:
        """Crop regions and run ``res5`` on them: (M, C, H, W) features of rows or lists of boxes."""
        return self.res5(pool_regions(self.pooler, features, boxes, len(features[0])))

    def _regions(self, features: Mapping[str, torch.Tensor], boxes: Any) -> torch.Tensor:
        maps = [features[name] for name in self.in_features]
        if isinstance(boxes, RoiRows) and not takes_batches(self._shared_roi_transform):
            boxes = boxes.per_image(len(maps[0]))
        return self._shared_roi_transform(maps, boxes)

    def _keeps_regions_apart(self) -> bool:
        parts = [self.pooler, self.res5, self.box_predictor]
        parts += [self.mask_head] if self.mask_on else []
        return takes_batches(self._shared_roi_transform) and regions_stay_apart(parts)

    def _with_hardness(
        self, features: Mapping[str, torch.Tensor], proposals: Sequence[Instances]
    ) -> ProposalBatch:
        """Look at all proposals before some are chosen; see :mod:`.hard_negatives`."""
        parts = [self.pooler, self.res5, self.box_predictor]
        if not takes_batches(self._shared_roi_transform):
            proposals = ProposalBatch.of(proposals).exact()

        def predict(batch: ProposalBatch) -> Any:
            return self.box_predictor(self._regions(features, batch.rows()).mean(dim=[2, 3]))

        return with_hardness(self, proposals, parts, self.box_predictor, predict)

    @batched
    def forward(
        self,
        images: ImageList,
        features: Mapping[str, torch.Tensor],
        proposals: Sequence[Instances],
        targets: Sequence[Instances] | None = None,
    ) -> tuple[Sequence[Instances], dict[str, torch.Tensor]]:
        """See :meth:`ROIHeads.forward`."""
        if self.training and targets is None:
            raise ValueError('the ROI heads need ground truth in training: "instances" in every input')
        if self.training and self.hard_negatives:
            proposals = self._with_hardness(features, proposals)
        if self.training:
            proposals = call(self.label_and_sample_proposals, proposals, targets)
        batch = ProposalBatch.of(proposals)
        if not self._keeps_regions_apart():
            batch = batch.exact()
        regions = self._regions(features, batch.rows())
        predictions = self.box_predictor(regions.mean(dim=[2, 3]))
        if not self.training:
            detections = infer(self.box_predictor, predictions, batch)
            detections = call(self.forward_with_given_boxes, features, detections)
            return thin_detections(self.box_predictor, detections), {}
        losses = call(self.box_predictor.losses, predictions, batch)
        if self.mask_on:
            index, _, learned = self._mask_samples(batch, self.mask_head)
            losses.update(self.mask_head(regions[index], learned))
        return batch, losses

    @batched
    def forward_with_given_boxes(
        self, features: Mapping[str, torch.Tensor], instances: Sequence[Instances]
    ) -> Sequence[Instances]:
        """Add masks to known boxes.

        Args:
            features: the backbone's maps by name.
            instances: per image ``pred_boxes`` and ``pred_classes``.

        Returns:
            The instances with ``pred_masks`` (Ri, 1, M, M) probabilities.
        """
        if not self.mask_on:
            return instances
        if isinstance(instances, DetectionBatch) and not self._keeps_regions_apart():
            instances = instances.instances()
        instances, regions = detected_regions(instances, [self.mask_head])
        return self.mask_head(self._regions(features, regions), instances)
