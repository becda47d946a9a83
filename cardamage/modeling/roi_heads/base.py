"""What all heads on regions share: matching proposals with the ground truth, and sampling them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn

from cardamage.config import configurable
from cardamage.errors import ConfigValueError
from cardamage.layers import ShapeSpec
from cardamage.modeling.registry import Registry
from cardamage.structures import ImageList, Instances
from cardamage.utils.events import get_event_storage

from ..batch import ProposalBatch, TargetBatch
from ..matcher import Matcher, batched_iou
from ..poolers import ROIPooler
from ..proposal_generator.proposal_utils import add_ground_truth_to_proposals
from ..sampling import sample_batch

__all__ = ["ROI_HEADS_REGISTRY", "ROIHeads", "build_roi_heads", "common_channels", "make_pooler"]

ROI_HEADS_REGISTRY = Registry("ROI_HEADS", "MODEL.ROI_HEADS.NAME")
ROI_HEADS_REGISTRY.__doc__ = (
    "Callables ``(cfg, input_shape) -> ROIHeads``, chosen by ``MODEL.ROI_HEADS.NAME``."
)


def build_roi_heads(cfg: Any, input_shape: Mapping[str, ShapeSpec]) -> nn.Module:
    """Build the heads that ``cfg.MODEL.ROI_HEADS.NAME`` names.

    Args:
        cfg: the config tree.
        input_shape: the backbone's outputs.

    Returns:
        A module with the interface of :class:`ROIHeads`.
    """
    return ROI_HEADS_REGISTRY.get(cfg.MODEL.ROI_HEADS.NAME)(cfg, input_shape)


def common_channels(input_shape: Mapping[str, ShapeSpec], names: Sequence[str]) -> int:
    """Return the channels of the named maps, which must agree."""
    channels: set[Any] = {input_shape[name].channels for name in names}
    if len(channels) != 1:
        raise ConfigValueError(
            f"MODEL.ROI_HEADS.IN_FEATURES {list(names)} have {sorted(channels)} channels, but share one head"
        )
    return channels.pop()


def make_pooler(node: Any, input_shape: Mapping[str, ShapeSpec], names: Sequence[str]) -> ROIPooler:
    """Make the pooler that a head's config node describes."""
    strides: list[Any] = [input_shape[name].stride for name in names]
    return ROIPooler(
        output_size=node.POOLER_RESOLUTION,
        scales=[1.0 / stride for stride in strides],
        sampling_ratio=node.POOLER_SAMPLING_RATIO,
        pooler_type=node.POOLER_TYPE,
    )


class ROIHeads(nn.Module):
    """Everything that is computed for regions. Subclasses add the heads themselves."""

    @configurable
    def __init__(
        self,
        *,
        num_classes: int,
        batch_size_per_image: int,
        positive_fraction: float,
        proposal_matcher: Matcher,
        proposal_append_gt: bool = True,
    ) -> None:
        """Set how proposals are chosen in training.

        Args:
            num_classes: number of classes without background.
            batch_size_per_image: proposals of an image to learn from.
            positive_fraction: the largest share of foreground among them.
            proposal_matcher: labels proposals by their overlap with the ground truth.
            proposal_append_gt: let the ground truth's boxes be proposals too.
        """
        super().__init__()
        self.num_classes = num_classes
        self.batch_size_per_image = batch_size_per_image
        self.positive_fraction = positive_fraction
        self.proposal_matcher = proposal_matcher
        self.proposal_append_gt = proposal_append_gt

    @classmethod
    def from_config(cls, cfg: Any, input_shape: Any = None) -> dict[str, Any]:
        """Read ``MODEL.ROI_HEADS``."""
        node = cfg.MODEL.ROI_HEADS
        return {
            "num_classes": node.NUM_CLASSES,
            "batch_size_per_image": node.BATCH_SIZE_PER_IMAGE,
            "positive_fraction": node.POSITIVE_FRACTION,
            "proposal_append_gt": node.PROPOSAL_APPEND_GT,
            "proposal_matcher": Matcher(
                node.IOU_THRESHOLDS, node.IOU_LABELS, allow_low_quality_matches=False
            ),
        }

    @property
    def max_foreground(self) -> int:
        """The most foreground proposals of an image that sampling takes."""
        return int(self.batch_size_per_image * self.positive_fraction)

    @torch.no_grad()
    def label_and_sample_proposals(
        self, proposals: Sequence[Instances], targets: Sequence[Instances]
    ) -> ProposalBatch:
        """Match proposals with the ground truth and choose those to learn from.

        Args:
            proposals: the proposals of N images.
            targets: their ground truth.

        Returns:
            min(K, batch_size_per_image) proposals of every image, foreground first, with
            ``gt_classes``, ``gt_boxes`` and, as a sequence, all other ``gt_`` fields.
        """
        truth = TargetBatch.of(targets)
        batch = ProposalBatch.of(proposals)
        if self.proposal_append_gt:
            batch = add_ground_truth_to_proposals(truth, batch)
        matches, classes = self.match_classes(batch, truth, self.proposal_matcher)
        index, valid = sample_batch(
            classes, self.batch_size_per_image, self.positive_fraction, self.num_classes
        )
        if not batch.fixed:
            most = max(int(valid.sum(dim=1).max()), 1)
            index, valid = index[:, :most], valid[:, :most]
        gt_classes = classes.gather(1, index).masked_fill(~valid, -1)
        self._log_samples(gt_classes)
        return self._with_truth(
            batch, truth, index, valid, gt_classes=gt_classes, gt_index=matches.gather(1, index)
        )

    def match_classes(
        self, batch: ProposalBatch, truth: TargetBatch, matcher: Matcher
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Give every proposal a ground truth and a class.

        Args:
            batch: the proposals.
            truth: the ground truth.
            matcher: labels by overlap.

        Returns:
            (N, K) int64 index into the image's ground truth, and (N, K) int64 classes:
            ``num_classes`` for background, -1 to ignore.
        """
        quality = batched_iou(truth.boxes.to(batch.boxes), batch.boxes)
        matches, labels = matcher.match_batch(quality, truth.valid, batch.valid)
        classes = truth.classes.gather(1, matches)
        classes = classes.masked_fill(labels == 0, self.num_classes).masked_fill(labels == -1, -1)
        # Without ground truth even a label "foreground" means background.
        nothing = ~truth.valid.any(dim=1, keepdim=True) & batch.valid
        return matches, classes.masked_fill(nothing, self.num_classes)

    @staticmethod
    def _with_truth(
        batch: ProposalBatch,
        truth: TargetBatch,
        index: torch.Tensor,
        valid: torch.Tensor,
        *,
        gt_classes: torch.Tensor,
        gt_index: torch.Tensor,
    ) -> ProposalBatch:
        def take(boxes: torch.Tensor, at: torch.Tensor) -> torch.Tensor:
            return boxes.gather(1, at[:, :, None].expand(-1, -1, 4))

        return ProposalBatch(
            boxes=take(batch.boxes, index),
            valid=valid,
            image_sizes=batch.image_sizes,
            logits=None if batch.logits is None else batch.logits.gather(1, index),
            gt_classes=gt_classes,
            gt_boxes=take(truth.boxes, gt_index),
            gt_index=gt_index,
            targets=truth,
            fixed=batch.fixed,
        )

    def _log_samples(self, gt_classes: torch.Tensor, prefix: str = "") -> None:
        """Log how many foreground and background proposals an image has on average."""
        background = gt_classes == self.num_classes
        foreground = (gt_classes >= 0) & ~background
        storage = get_event_storage()
        num_images = len(gt_classes)
        storage.put_scalar(f"{prefix}roi_head/num_fg_samples", foreground.sum() / num_images)
        storage.put_scalar(f"{prefix}roi_head/num_bg_samples", background.sum() / num_images)

    def forward(
        self,
        images: ImageList,
        features: Mapping[str, torch.Tensor],
        proposals: Sequence[Instances],
        targets: Sequence[Instances] | None = None,
    ) -> tuple[Sequence[Instances], dict[str, torch.Tensor]]:
        """Compute the losses, or the detections.

        Args:
            images: the padded images.
            features: the backbone's (N, C, Hi, Wi) maps by name.
            proposals: the proposals of N images.
            targets: their ground truth, in training.

        Returns:
            In training the sampled proposals and the losses; in inference the detections and nothing.
        """
        raise NotImplementedError
