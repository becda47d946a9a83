"""The region proposal network (Ren et al., https://arxiv.org/abs/1506.01497)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from cardamage.config import configurable
from cardamage.layers import ShapeSpec
from cardamage.structures import Boxes, ImageList, Instances
from cardamage.utils.compiling import region
from cardamage.utils.events import get_event_storage

from ..anchor_generator import build_anchor_generator
from ..batch import ProposalBatch, TargetBatch
from ..box_regression import Box2BoxTransform, box_regression_loss
from ..custom import as_list, batched, takes_batches
from ..loss_weights import weights_by_loss
from ..sampling import sample_batch, subsample_labels
from .anchor_labels import AnchorMatcher, build_anchor_matcher, match_anchors
from .build import PROPOSAL_GENERATOR_REGISTRY
from .proposal_utils import decode_candidates, gather_boxes, select_proposals, top_of_levels
from .rpn_head import RPN_HEAD_REGISTRY, StandardRPNHead, build_rpn_head
from .sampled_head import can_predict_sampled, predict_sampled

__all__ = ["RPN", "RPN_HEAD_REGISTRY", "AnchorSample", "StandardRPNHead", "build_rpn_head"]


@dataclass
class AnchorSample:
    """The anchors a step learns from.

    Attributes:
        index: (N, S) int64 into all P anchors.
        valid: (N, S) bool.
        positive: (N, S) bool, False for background and where not valid.
        gt_boxes: (N, S, 4) XYXY, meaningful where positive.
    """

    index: torch.Tensor
    valid: torch.Tensor
    positive: torch.Tensor
    gt_boxes: torch.Tensor


@region
def _objectness_loss(logits: torch.Tensor, positive: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
    """Sum the cross entropy of those (N, S) logits that are valid."""
    cls = F.binary_cross_entropy_with_logits(logits.float(), positive.float(), reduction="none")
    return torch.where(valid, cls, torch.zeros_like(cls)).sum()


@PROPOSAL_GENERATOR_REGISTRY.register()
class RPN(nn.Module):
    """Scores anchors as object or not, shifts them onto the objects, and proposes the best."""

    @configurable
    def __init__(
        self,
        *,
        in_features: Sequence[str],
        head: nn.Module,
        anchor_generator: nn.Module,
        anchor_matcher: AnchorMatcher,
        box2box_transform: Box2BoxTransform,
        batch_size_per_image: int,
        positive_fraction: float,
        pre_nms_topk: tuple[int, int],
        post_nms_topk: tuple[int, int],
        nms_thresh: float = 0.7,
        min_box_size: float = 0.0,
        anchor_boundary_thresh: float = -1.0,
        loss_weight: float | Mapping[str, float] = 1.0,
        box_reg_loss_type: str = "smooth_l1",
        smooth_l1_beta: float = 0.0,
        sampled_gradient: bool = False,
    ) -> None:
        """Put the network together.

        Args:
            in_features: names of the feature maps.
            head: from feature maps to logits and offsets.
            anchor_generator: from feature maps to anchors.
            anchor_matcher: labels anchors by their overlap with the ground truth, and by where it is.
            box2box_transform: how offsets tell boxes.
            batch_size_per_image: anchors of an image to learn from.
            positive_fraction: the largest share of foreground among them.
            pre_nms_topk: candidates a level before suppression, in (training, test).
            post_nms_topk: proposals an image after it, in (training, test).
            nms_thresh: the overlap from which on the lower-scored box goes.
            min_box_size: proposals must be wider and higher than this, in pixels.
            anchor_boundary_thresh: ignore anchors that reach this many pixels out of the image; -1
                for none.
            loss_weight: a factor for both losses, or one each for ``loss_rpn_cls``, ``loss_rpn_loc``.
            box_reg_loss_type: see :func:`~cardamage.modeling.box_regression.box_regression_loss`.
            smooth_l1_beta: see there.
            sampled_gradient: compute the losses from the pixels that the sampled anchors look at, so that
                no gradient flows back through whole feature maps; see :mod:`.sampled_head`.
        """
        super().__init__()
        self.in_features = list(in_features)
        self.rpn_head = head
        self.anchor_generator = anchor_generator
        self.anchor_matcher = anchor_matcher
        self.box2box_transform = box2box_transform
        self.batch_size_per_image = batch_size_per_image
        self.positive_fraction = positive_fraction
        self.pre_nms_topk = {True: pre_nms_topk[0], False: pre_nms_topk[1]}
        self.post_nms_topk = {True: post_nms_topk[0], False: post_nms_topk[1]}
        self.nms_thresh = nms_thresh
        self.min_box_size = float(min_box_size)
        self.anchor_boundary_thresh = anchor_boundary_thresh
        self.loss_weight = weights_by_loss(loss_weight, "loss_rpn_cls", "loss_rpn_loc")
        self.box_reg_loss_type = box_reg_loss_type
        self.smooth_l1_beta = smooth_l1_beta
        self.sampled_gradient = sampled_gradient

    @classmethod
    def from_config(cls, cfg: Any, input_shape: Mapping[str, ShapeSpec]) -> dict[str, Any]:
        """Read ``MODEL.RPN``."""
        node = cfg.MODEL.RPN
        shapes = [input_shape[name] for name in node.IN_FEATURES]
        return {
            "in_features": node.IN_FEATURES,
            "head": build_rpn_head(cfg, shapes),
            "anchor_generator": build_anchor_generator(cfg, shapes),
            "anchor_matcher": build_anchor_matcher(node),
            "box2box_transform": Box2BoxTransform(weights=node.BBOX_REG_WEIGHTS),
            "batch_size_per_image": node.BATCH_SIZE_PER_IMAGE,
            "positive_fraction": node.POSITIVE_FRACTION,
            "pre_nms_topk": (node.PRE_NMS_TOPK_TRAIN, node.PRE_NMS_TOPK_TEST),
            "post_nms_topk": (node.POST_NMS_TOPK_TRAIN, node.POST_NMS_TOPK_TEST),
            "nms_thresh": node.NMS_THRESH,
            "min_box_size": cfg.MODEL.PROPOSAL_GENERATOR.MIN_SIZE,
            "anchor_boundary_thresh": node.BOUNDARY_THRESH,
            "loss_weight": {
                "loss_rpn_cls": node.LOSS_WEIGHT,
                "loss_rpn_loc": node.BBOX_REG_LOSS_WEIGHT * node.LOSS_WEIGHT,
            },
            "box_reg_loss_type": node.BBOX_REG_LOSS_TYPE,
            "smooth_l1_beta": node.SMOOTH_L1_BETA,
            "sampled_gradient": node.SAMPLED_GRADIENT,
        }

    @batched
    def forward(
        self,
        images: ImageList,
        features: Mapping[str, torch.Tensor],
        gt_instances: Sequence[Instances] | None = None,
    ) -> tuple[ProposalBatch, dict[str, torch.Tensor]]:
        """Propose boxes, and in training compute the losses.

        Args:
            images: the padded images; only their sizes are used.
            features: the backbone's (N, C, Hi, Wi) maps by name.
            gt_instances: the ground truth, needed in training.

        Returns:
            The proposals, and the losses ``loss_rpn_cls`` and ``loss_rpn_loc`` (none in inference).

        Raises:
            ValueError: training without ground truth.

        Boxes and scores that are not finite are never proposed; in training they make ``loss_rpn_cls``
        not a number, too.
        """
        maps = [features[name] for name in self.in_features]
        anchors = self.anchor_generator(maps)
        sampled = self._learns_from_samples(sum(map(len, anchors)))
        with torch.set_grad_enabled(torch.is_grad_enabled() and not sampled):
            level_logits, level_deltas = self.rpn_head(maps)
        # (N, A, H, W) -> (N, H * W * A), the anchors' order.
        logits = [x.permute(0, 2, 3, 1).flatten(1) for x in level_logits]
        deltas = [x.permute(0, 2, 3, 1).reshape(x.shape[0], -1, 4) for x in level_deltas]
        losses: dict[str, torch.Tensor] = {}
        if self.training:
            if gt_instances is None:
                raise ValueError('the RPN needs ground truth in training: "instances" in every input')
            if sampled:
                losses = self._sampled_losses(anchors, maps, gt_instances)
            else:
                losses = self._train(anchors, logits, deltas, gt_instances)
        proposals = self.predict_proposals(anchors, logits, deltas, images.image_sizes)
        if losses and isinstance(proposals, ProposalBatch) and proposals.finite is not None:
            # So training stops where the losses are read, without waiting for the device here.
            spoiled = torch.full((), torch.nan, device=proposals.finite.device)
            losses["loss_rpn_cls"] = torch.where(proposals.finite, losses["loss_rpn_cls"], spoiled)
        return proposals, losses

    def _has_own_losses(self) -> bool:
        """Tell whether a subclass labels anchors or computes losses itself."""
        own = (self.label_and_sample_anchors, self.losses, self._subsample_labels)
        return not all(map(takes_batches, own))

    def _learns_from_samples(self, num_anchors: int) -> bool:
        """Tell whether the losses are computed from sampled anchors' pixels, apart from the proposals."""
        if not (self.training and self.sampled_gradient) or self._has_own_losses():
            return False
        return can_predict_sampled(self.rpn_head, min(self.batch_size_per_image, num_anchors), num_anchors)

    def _sampled_losses(
        self, anchors: Sequence[Boxes], maps: Sequence[torch.Tensor], gt_instances: Sequence[Instances]
    ) -> dict[str, torch.Tensor]:
        """Compute the losses from the maps' pixels around the sampled anchors."""
        sample = self._sample_anchors(anchors, TargetBatch.of(gt_instances, maps[0].device))
        head: Any = self.rpn_head
        logits, deltas = predict_sampled(head, maps, sample.index)
        return self._losses_of(anchors, logits, deltas, sample)

    def _train(
        self,
        anchors: Sequence[Boxes],
        logits: Sequence[torch.Tensor],
        deltas: Sequence[torch.Tensor],
        gt_instances: Sequence[Instances],
    ) -> dict[str, torch.Tensor]:
        """Compute the losses, by a subclass's own methods if it has any."""
        if self._has_own_losses():
            labels, boxes = self.label_and_sample_anchors(anchors, as_list(gt_instances))
            return self.losses(anchors, logits, labels, deltas, boxes)
        truth = TargetBatch.of(gt_instances, logits[0].device)
        return self._losses(anchors, logits, deltas, self._sample_anchors(anchors, truth))

    @torch.no_grad()
    def _match_anchors(
        self, anchors: Sequence[Boxes], truth: TargetBatch
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the (N, P) int64 matches and (N, P) int8 labels of all P anchors."""
        per_place = getattr(self.anchor_generator, "num_anchors", [1] * len(anchors))
        return match_anchors(self.anchor_matcher, anchors, per_place, truth, self.anchor_boundary_thresh)

    @torch.no_grad()
    def _sample_anchors(self, anchors: Sequence[Boxes], truth: TargetBatch) -> AnchorSample:
        """Choose the anchors to learn from: S = min(P, batch_size_per_image) of every image."""
        matches, labels = self._match_anchors(anchors, truth)
        index, valid = sample_batch(labels, self.batch_size_per_image, self.positive_fraction, 0)
        positive = (labels.gather(1, index) == 1) & valid
        return AnchorSample(index, valid, positive, gather_boxes(truth.boxes, matches.gather(1, index)))

    @batched
    @torch.no_grad()
    def label_and_sample_anchors(
        self, anchors: Sequence[Boxes], gt_instances: Sequence[Instances]
    ) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
        """Label all anchors; for subclasses, as training itself only handles the sampled ones.

        Args:
            anchors: the anchors of every level, P in all.
            gt_instances: the ground truth of N images.

        Returns:
            Per image (P,) int8 labels: 1 for object, 0 for background, -1 for anchors not sampled; and
            per image (P, 4) XYXY boxes, meaningful where the label is 1.
        """
        truth = TargetBatch.of(gt_instances)
        matches, labels = self._match_anchors(anchors, truth)
        return [self._subsample_labels(x) for x in labels], list(gather_boxes(truth.boxes, matches))

    @batched
    def _subsample_labels(self, label: torch.Tensor) -> torch.Tensor:
        """Set all (P,) labels but a random sample of them to -1, in place."""
        positive, negative = subsample_labels(label, self.batch_size_per_image, self.positive_fraction, 0)
        label.fill_(-1)
        label[positive] = 1
        label[negative] = 0
        return label

    @batched
    def losses(
        self,
        anchors: Sequence[Boxes],
        pred_objectness_logits: Sequence[torch.Tensor],
        gt_labels: Sequence[torch.Tensor],
        pred_anchor_deltas: Sequence[torch.Tensor],
        gt_boxes: Sequence[torch.Tensor],
    ) -> dict[str, torch.Tensor]:
        """Compute the losses of labelled anchors.

        Args:
            anchors: the anchors of every level, P in all.
            pred_objectness_logits: per level (N, Pi).
            gt_labels: per image (P,) labels, see :meth:`label_and_sample_anchors`.
            pred_anchor_deltas: per level (N, Pi, 4).
            gt_boxes: per image (P, 4).

        Returns:
            ``loss_rpn_cls`` (binary cross entropy) and ``loss_rpn_loc``, 0-d.
        """
        labels = torch.stack(list(gt_labels))
        index = torch.arange(labels.shape[1], device=labels.device).expand_as(labels)
        sample = AnchorSample(index, labels >= 0, labels == 1, torch.stack(list(gt_boxes)))
        return self._losses(anchors, pred_objectness_logits, pred_anchor_deltas, sample)

    def _losses(
        self,
        anchors: Sequence[Boxes],
        logits: Sequence[torch.Tensor],
        deltas: Sequence[torch.Tensor],
        sample: AnchorSample,
    ) -> dict[str, torch.Tensor]:
        """Compute the losses of a sample from the predictions for all anchors."""
        chosen = torch.cat(list(logits), dim=1).gather(1, sample.index)
        return self._losses_of(
            anchors, chosen, gather_boxes(torch.cat(list(deltas), dim=1), sample.index), sample
        )

    def _losses_of(
        self, anchors: Sequence[Boxes], logits: torch.Tensor, deltas: torch.Tensor, sample: AnchorSample
    ) -> dict[str, torch.Tensor]:
        """Compute the losses of a sample's (N, S) logits and (N, S, 4) offsets, and log its size."""
        num_images = len(sample.index)
        negative = sample.valid & ~sample.positive
        storage = get_event_storage()
        storage.put_scalar("rpn/num_pos_anchors", sample.positive.sum().float() / num_images)
        storage.put_scalar("rpn/num_neg_anchors", negative.sum().float() / num_images)
        cls_sum = _objectness_loss(logits, sample.positive, sample.valid)
        loc_sum = box_regression_loss(
            self.box2box_transform,
            torch.cat([a.tensor for a in anchors])[sample.index],
            deltas,
            sample.gt_boxes,
            sample.positive,
            self.box_reg_loss_type,
            self.smooth_l1_beta,
        )
        normalizer = self.batch_size_per_image * num_images
        losses = {"loss_rpn_cls": cls_sum / normalizer, "loss_rpn_loc": loc_sum / normalizer}
        return {name: loss * self.loss_weight.get(name, 1.0) for name, loss in losses.items()}

    @torch.no_grad()
    def predict_proposals(
        self,
        anchors: Sequence[Boxes],
        pred_objectness_logits: Sequence[torch.Tensor],
        pred_anchor_deltas: Sequence[torch.Tensor],
        image_sizes: Sequence[tuple[int, int]],
    ) -> ProposalBatch:
        """Decode every level's best anchors and choose among them.

        Args:
            anchors: the anchors of every level, P in all.
            pred_objectness_logits: per level (N, Pi).
            pred_anchor_deltas: per level (N, Pi, 4).
            image_sizes: N sizes (h, w).

        Returns:
            The proposals by falling objectness. They carry no gradient.
        """
        places = top_of_levels(pred_objectness_logits, self.pre_nms_topk[self.training])
        grids = [level.tensor for level in anchors]
        boxes, logits = decode_candidates(
            self.box2box_transform, grids, list(pred_objectness_logits), list(pred_anchor_deltas), places
        )
        return select_proposals(
            boxes,
            logits,
            [place.shape[1] for place in places],
            image_sizes,
            self.nms_thresh,
            self.post_nms_topk[self.training],
            self.min_box_size,
        )
