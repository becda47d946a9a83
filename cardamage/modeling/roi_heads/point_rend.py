"""Masks that are refined where they are undecided (PointRend, https://arxiv.org/abs/1912.08193)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from cardamage.config import configurable
from cardamage.errors import ConfigValueError
from cardamage.layers import ShapeSpec
from cardamage.layers.point_sampling import grid_points, place_in_boxes, sample_maps, uncertain_points
from cardamage.structures import Instances
from cardamage.utils.compiling import region
from cardamage.utils.events import get_event_storage

from ..batch import RoiRows
from ..custom import batched
from ..detections import DetectionBatch
from ..poolers import ROIPooler
from .base import common_channels, make_pooler, pool_regions
from .coarse_mask_head import CoarseMaskFCHead
from .mask_head import (
    ROI_MASK_HEAD_REGISTRY,
    BaseMaskRCNNHead,
    MaskRCNNConvUpsampleHead,
    mask_rcnn_inference,
    of_class,
)
from .mask_targets import MaskRows, rows_of
from .point_head import PointHead, subdivide

__all__ = ["PointRendMaskHead", "PointSampling"]

Features = Mapping[str, torch.Tensor]


@dataclass(frozen=True)
class PointSampling:
    """Which points are learned from and predicted.

    Attributes:
        count: points of a mask to learn from.
        oversample: how many times as many are looked at for undecided ones.
        importance: the share of points that are undecided ones.
        side: of the grid that inference begins with.
        steps: how often it is doubled.
        subdivision_count: points of a mask that are predicted after each doubling.
    """

    count: int = 14 * 14
    oversample: float = 3
    importance: float = 0.75
    side: int = 7
    steps: int = 5
    subdivision_count: int = 28 * 28

    @classmethod
    def from_config(cls, cfg: Any) -> PointSampling:
        """Read ``MODEL.POINT_HEAD``."""
        node = cfg.MODEL.POINT_HEAD
        return cls(
            node.TRAIN_NUM_POINTS,
            node.OVERSAMPLE_RATIO,
            node.IMPORTANCE_SAMPLE_RATIO,
            cfg.MODEL.ROI_MASK_HEAD.OUTPUT_SIDE_RESOLUTION,
            node.SUBDIVISION_STEPS,
            node.SUBDIVISION_NUM_POINTS,
        )


@region
def _point_loss(
    logits: torch.Tensor, truth: torch.Tensor, valid: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the mean cross entropy of (M, P) points of valid rows, and the share of right ones."""
    losses = F.binary_cross_entropy_with_logits(logits, truth, reduction="none")
    used = valid[:, None].expand_as(losses)
    total = used.sum().clamp(min=1)
    right = (((logits.detach() > 0) == (truth >= 0.5)) & used).sum()
    return torch.where(used, losses, torch.zeros_like(losses)).sum() / total, right / total


@ROI_MASK_HEAD_REGISTRY.register()
class PointRendMaskHead(nn.Module):
    """A coarse mask, and a head that predicts single points of it again from the finest feature map."""

    # Whoever builds it hands it the feature maps.
    takes_feature_maps = True

    @configurable
    def __init__(
        self,
        *,
        coarse_head: BaseMaskRCNNHead,
        coarse_in_features: Sequence[str],
        pooler: ROIPooler | int,
        strides: Mapping[str, int],
        point_head: PointHead | None,
        point_in_features: Sequence[str],
        sampling: PointSampling,
    ) -> None:
        """Put the parts together.

        Args:
            coarse_head: computes the coarse masks.
            coarse_in_features: feature maps of the coarse head.
            pooler: crops the regions for it; a number for so many points on each side, read from its maps.
            strides: of the feature maps by name.
            point_head: predicts points; None for coarse masks only.
            point_in_features: feature maps of the point head.
            sampling: which points.
        """
        super().__init__()
        self.point_head = point_head
        self.coarse_head = coarse_head
        self.coarse_in_features = list(coarse_in_features)
        self.pooler = pooler
        self.strides = dict(strides)
        self.point_in_features = list(point_in_features)
        self.sampling = sampling

    @classmethod
    def from_config(cls, cfg: Any, input_shape: Any) -> dict[str, Any]:
        """Read ``MODEL.ROI_MASK_HEAD`` and ``MODEL.POINT_HEAD``."""
        check_point_config(cfg, input_shape)
        node = cfg.MODEL.ROI_MASK_HEAD
        # First: so a seed gives the weights it gives in Detectron2's project.
        point_head = _build_point_head(cfg, input_shape) if node.POINT_HEAD_ON else None
        names, size = list(input_shape), node.POOLER_RESOLUTION
        pooler: ROIPooler | int = size
        coarse: BaseMaskRCNNHead
        if node.POOLER_TYPE:
            pooler = make_pooler(node, input_shape, names)
            channels = common_channels(input_shape, names)
            coarse = MaskRCNNConvUpsampleHead(cfg, ShapeSpec(channels=channels, height=size, width=size))
        else:
            names = list(node.IN_FEATURES)
            channels = sum(input_shape[name].channels for name in names)
            coarse = CoarseMaskFCHead(cfg, ShapeSpec(channels=channels, height=size, width=size))
        return {
            "coarse_head": coarse,
            "coarse_in_features": names,
            "pooler": pooler,
            "strides": {name: shape.stride for name, shape in input_shape.items()},
            "point_head": point_head,
            "point_in_features": cfg.MODEL.POINT_HEAD.IN_FEATURES,
            "sampling": PointSampling.from_config(cfg),
        }

    @batched
    def forward(self, features: Features, instances: Any) -> Any:
        """Compute the losses, or add masks to the detections.

        Args:
            features: the (N, C, Hi, Wi) feature maps by name.
            instances: in training the regions and what they are matched to, in inference the detections.

        Returns:
            In training ``loss_mask`` of the coarse masks and ``loss_mask_point``, in inference the detections
            with ``pred_masks``.
        """
        if self.training:
            return self._losses(
                features, instances if isinstance(instances, MaskRows) else rows_of(instances)
            )
        rows, classes = _detected(instances)
        coarse = self.coarse_head.layers(self._coarse_regions(features, rows))
        if self.point_head is None:
            mask_rcnn_inference(coarse, instances)
        else:
            mask_rcnn_inference(self._refine(features, rows, coarse, classes)[:, None], instances)
        return instances

    def _losses(self, features: Features, learned: MaskRows) -> dict[str, torch.Tensor]:
        rows, classes = learned.rows, learned.classes
        coarse = self.coarse_head.layers(self._coarse_regions(features, rows))
        losses: dict[str, torch.Tensor] = self.coarse_head.losses(coarse, learned)
        if self.point_head is None:
            return losses
        settings = self.sampling
        points = uncertain_points(
            of_class(coarse.detach(), classes), settings.count, settings.oversample, settings.importance
        )
        truth = learned.at(place_in_boxes(points, rows.boxes))
        logits = self._predict(features, rows, coarse, classes, points)
        loss, accuracy = _point_loss(logits, truth, rows.valid)
        get_event_storage().put_scalar("point/accuracy", accuracy)
        return {**losses, "loss_mask_point": loss}

    def _coarse_regions(self, features: Features, rows: RoiRows) -> torch.Tensor:
        """Return the (M, C, H, W) features that coarse masks are computed from."""
        maps = [features[name] for name in self.coarse_in_features]
        if not isinstance(self.pooler, int):
            return pool_regions(self.pooler, maps, rows, len(maps[0]))
        side = self.pooler
        grid = grid_points(side, rows.boxes.device).expand(len(rows), -1, -1)
        cells = self._read(features, self.coarse_in_features, rows, grid)
        return cells.unflatten(1, (side, side)).permute(0, 3, 1, 2)

    def _read(
        self, features: Features, names: Sequence[str], rows: RoiRows, points: torch.Tensor
    ) -> torch.Tensor:
        """Read maps at (M, P, 2) points, shares of the regions' sides: (M, P, C) of all maps' channels."""
        places = place_in_boxes(points, rows.boxes)
        parts = [sample_maps(features[name], rows.image, places / self.strides[name]) for name in names]
        return torch.cat(parts, dim=2)

    def _predict(
        self,
        features: Features,
        rows: RoiRows,
        coarse: torch.Tensor,
        classes: torch.Tensor,
        points: torch.Tensor,
    ) -> torch.Tensor:
        """Predict (M, P) float32 logits of the regions' classes at points, shares of their sides."""
        assert self.point_head is not None
        fine = self._read(features, self.point_in_features, rows, points)
        owner = torch.arange(len(rows), device=points.device)
        # Masks are square.
        near = sample_maps(coarse, owner, points * coarse.shape[-1])
        logits = self.point_head(fine, near)
        return of_class(logits.transpose(1, 2)[..., None], classes)[..., 0].float()

    def _refine(
        self, features: Features, rows: RoiRows, coarse: torch.Tensor, classes: torch.Tensor
    ) -> torch.Tensor:
        """Return (M, S, S) logits of the regions' classes."""
        coarse = coarse.contiguous(memory_format=torch.channels_last)
        settings = self.sampling
        return subdivide(
            lambda points: self._predict(features, rows, coarse, classes, points),
            len(rows),
            settings.side,
            settings.steps,
            settings.subdivision_count,
            rows.boxes.device,
        )


def _detected(instances: DetectionBatch | Sequence[Instances]) -> tuple[RoiRows, torch.Tensor]:
    """Return all places of a batch of detections, or those of lists, and their classes."""
    if isinstance(instances, DetectionBatch):
        return instances.rows(), instances.classes.flatten()
    rows = RoiRows.from_boxes([x.pred_boxes for x in instances])
    return rows, torch.cat([x.pred_classes for x in instances])


def _build_point_head(cfg: Any, input_shape: Mapping[str, ShapeSpec]) -> PointHead:
    node = cfg.MODEL.POINT_HEAD
    agnostic, classes = cfg.MODEL.ROI_MASK_HEAD.CLS_AGNOSTIC_MASK, cfg.MODEL.ROI_HEADS.NUM_CLASSES
    channels: list[Any] = [input_shape[name].channels for name in node.IN_FEATURES]
    return PointHead(
        sum(channels),
        coarse_classes=1 if agnostic else classes,
        num_classes=1 if agnostic or node.CLS_AGNOSTIC_MASK else classes,
        fc_dim=node.FC_DIM,
        num_fc=node.NUM_FC,
        coarse_each_layer=node.COARSE_PRED_EACH_LAYER,
    )


def check_point_config(cfg: Any, input_shape: Any) -> None:
    """Refuse what this head can't be.

    Args:
        cfg: the config tree.
        input_shape: the shapes of the heads' feature maps by name.

    Raises:
        ConfigValueError: names the key and what is allowed.
    """
    mask, point = cfg.MODEL.ROI_MASK_HEAD, cfg.MODEL.POINT_HEAD
    if not isinstance(input_shape, Mapping):
        raise ConfigValueError(
            f"MODEL.ROI_MASK_HEAD.NAME is {mask.NAME!r}, which needs feature maps, and "
            f"{cfg.MODEL.ROI_HEADS.NAME} has none for it: set MODEL.ROI_HEADS.NAME to StandardROIHeads or "
            "CascadeROIHeads."
        )
    for key, names in (("ROI_MASK_HEAD", mask.IN_FEATURES), ("POINT_HEAD", point.IN_FEATURES)):
        if not names or any(name not in input_shape for name in names):
            raise ConfigValueError(
                f"MODEL.{key}.IN_FEATURES is {list(names)}; it must name one or more of "
                f"MODEL.ROI_HEADS.IN_FEATURES, which are {', '.join(input_shape)}."
            )
    classes = cfg.MODEL.ROI_HEADS.NUM_CLASSES
    if point.NUM_CLASSES not in (0, classes):
        raise ConfigValueError(
            f"MODEL.POINT_HEAD.NUM_CLASSES is {point.NUM_CLASSES}, but MODEL.ROI_HEADS.NUM_CLASSES "
            f"{classes}: leave it at 0."
        )
    if not mask.POOLER_TYPE and mask.POOLER_RESOLUTION % 2:
        raise ConfigValueError(
            f"MODEL.ROI_MASK_HEAD.POOLER_RESOLUTION is {mask.POOLER_RESOLUTION}; without a POOLER_TYPE it "
            "must be even."
        )
