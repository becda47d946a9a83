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
from cardamage.structures import Boxes, ImageList, Instances
from cardamage.utils.events import get_event_storage

from ..batch import ProposalBatch, RoiRows, TargetBatch, pad
from ..custom import as_list, batched, takes_batches
from ..matcher import Matcher, match_boxes
from ..poolers import ROIPooler
from ..proposal_generator.proposal_utils import append_ground_truth, gather_boxes
from ..sampling import sample_batch, subsample_labels
from .mask_targets import MaskRows

__all__ = [
    "ROI_HEADS_REGISTRY",
    "ROIHeads",
    "build_roi_heads",
    "common_channels",
    "make_pooler",
    "pool_regions",
    "select_foreground_proposals",
]

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


def pool_regions(
    pooler: Any, maps: Sequence[torch.Tensor], regions: RoiRows | Sequence[Boxes], num_images: int
) -> torch.Tensor:
    """Crop regions, with the boxes of every image for a pooler of a user's own.

    Args:
        pooler: a :class:`~cardamage.modeling.poolers.ROIPooler`, or of its interface.
        maps: (N, C, Hi, Wi) feature maps.
        regions: M rows, or the boxes of every image.
        num_images: N.

    Returns:
        (M, C, H, W) features.
    """
    if isinstance(regions, RoiRows) and not takes_batches(pooler):
        regions = regions.per_image(num_images)
    return pooler(maps, regions)


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
        hard_negatives: bool = False,
    ) -> None:
        """Set how proposals are chosen in training.

        Args:
            num_classes: number of classes without background.
            batch_size_per_image: proposals of an image to learn from.
            positive_fraction: the largest share of foreground among them.
            proposal_matcher: labels proposals by their overlap with the ground truth.
            proposal_append_gt: let the ground truth's boxes be proposals too.
            hard_negatives: learn from the background that looks most like objects, see
                :mod:`.hard_negatives`, instead of drawing it.
        """
        super().__init__()
        self.num_classes = num_classes
        self.batch_size_per_image = batch_size_per_image
        self.positive_fraction = positive_fraction
        self.proposal_matcher = proposal_matcher
        self.proposal_append_gt = proposal_append_gt
        self.hard_negatives = hard_negatives

    @classmethod
    def from_config(cls, cfg: Any, input_shape: Any = None) -> dict[str, Any]:
        """Read ``MODEL.ROI_HEADS``."""
        node = cfg.MODEL.ROI_HEADS
        return {
            "num_classes": node.NUM_CLASSES,
            "batch_size_per_image": node.BATCH_SIZE_PER_IMAGE,
            "positive_fraction": node.POSITIVE_FRACTION,
            "proposal_append_gt": node.PROPOSAL_APPEND_GT,
            "hard_negatives": node.SAMPLER == "hard_negative",
            "proposal_matcher": Matcher(
                node.IOU_THRESHOLDS, node.IOU_LABELS, allow_low_quality_matches=False
            ),
        }

    @property
    def max_foreground(self) -> int:
        """The most foreground proposals of an image that sampling takes."""
        return int(self.batch_size_per_image * self.positive_fraction)

    @batched
    @torch.no_grad()
    def label_and_sample_proposals(
        self, proposals: Sequence[Instances], targets: Sequence[Instances]
    ) -> ProposalBatch:
        """Match proposals with the ground truth and choose those to learn from.

        Args:
            proposals: the proposals of N images; background of the highest ``hardness``, where they have it.
            targets: their ground truth.

        Returns:
            min(K, batch_size_per_image) proposals of every image, foreground first, with
            ``gt_classes``, ``gt_boxes`` and, as a sequence, all other ``gt_`` fields.
        """
        batch = ProposalBatch.of(proposals)
        truth = TargetBatch.of(targets, batch.boxes.device)
        if self.proposal_append_gt:
            batch = append_ground_truth(batch, truth)
        matches, labels = self._match(batch, truth, self.proposal_matcher)
        if takes_batches(self._sample_proposals):
            classes = self._padded_classes(matches, labels, batch, truth)
            index, valid = sample_batch(
                classes, self.batch_size_per_image, self.positive_fraction, self.num_classes, batch.hardness
            )
            if not batch.fixed:
                most = max(int(valid.sum(dim=1).max()), 1) if len(valid) else 1
                index, valid = index[:, :most], valid[:, :most]
            gt_classes = classes.gather(1, index).masked_fill(~valid, -1)
        else:
            batch = batch.exact()
            index, valid, gt_classes = self._sample_each(matches, labels, truth, batch.valid)
        self._log_samples(gt_classes)
        return self._with_truth(
            batch, truth, index, valid, gt_classes=gt_classes, gt_index=matches.gather(1, index)
        )

    @staticmethod
    def _match(
        batch: ProposalBatch, truth: TargetBatch, matcher: Matcher
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return every proposal's (N, K) int64 ground truth and (N, K) int8 label."""
        return match_boxes(matcher, truth.boxes.to(batch.boxes), batch.boxes, truth.valid, batch.valid)

    def _classes(self, matched: torch.Tensor, labels: torch.Tensor, nothing: torch.Tensor) -> torch.Tensor:
        """Turn matches into what is learned.

        Args:
            matched: (...) int64 classes of the matched ground truth.
            labels: (...) the matcher's labels.
            nothing: bool, where there is no ground truth, so that even "foreground" means background.

        Returns:
            (...) int64 classes: ``num_classes`` for background, -1 to ignore.
        """
        classes = matched.masked_fill(labels == 0, self.num_classes).masked_fill(labels == -1, -1)
        return classes.masked_fill(nothing, self.num_classes)

    def _padded_classes(
        self, matches: torch.Tensor, labels: torch.Tensor, batch: ProposalBatch, truth: TargetBatch
    ) -> torch.Tensor:
        nothing = ~truth.valid.any(dim=1, keepdim=True) & batch.valid
        return self._classes(truth.classes.gather(1, matches), labels, nothing)

    @batched
    def _sample_proposals(
        self, matched_idxs: torch.Tensor, matched_labels: torch.Tensor, gt_classes: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Sample one image's proposals; an override is called for every image.

        Args:
            matched_idxs: (K,) int64, every proposal's ground truth.
            matched_labels: (K,) the matcher's labels.
            gt_classes: (G,) int64 classes of the ground truth.

        Returns:
            (S,) int64 indices into the proposals, foreground first, and their (S,) int64 classes.
        """
        nothing = torch.tensor(len(gt_classes) == 0, device=matched_idxs.device)
        matched = gt_classes[matched_idxs] if len(gt_classes) else matched_idxs
        classes = self._classes(matched, matched_labels, nothing)
        sampled = subsample_labels(
            classes, self.batch_size_per_image, self.positive_fraction, self.num_classes
        )
        index = torch.cat(sampled)
        return index, classes[index]

    def _sample_each(
        self, matches: torch.Tensor, labels: torch.Tensor, truth: TargetBatch, used: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Sample image by image: the (N, S) places, which of them are used, and their classes."""
        places, classes = [], []
        for i, here in enumerate(used):
            sampled, found = self._sample_proposals(
                matches[i][here], labels[i][here], truth.classes[i][truth.valid[i]]
            )
            places.append(here.nonzero()[:, 0][sampled])
            classes.append(found)
        index, valid = pad(places)
        return index, valid, pad(classes)[0].masked_fill(~valid, -1)

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
        sampled = ProposalBatch(
            boxes=gather_boxes(batch.boxes, index),
            valid=valid,
            image_sizes=batch.image_sizes,
            logits=None if batch.logits is None else batch.logits.gather(1, index),
            gt_classes=gt_classes,
            gt_boxes=gather_boxes(truth.boxes, gt_index),
            gt_index=gt_index,
            targets=truth,
            fixed=batch.fixed,
        )
        if batch.instances is not None:
            # Their fields of a user's own come along.
            order = batch.valid.cumsum(dim=1) - 1
            places = order.gather(1, index)
            items = [x[at[used]] for x, at, used in zip(batch.instances, places, valid, strict=True)]
            for item, own in zip(items, sampled, strict=True):
                for name, value in own.get_fields().items():
                    item.set(name, value)
            sampled.instances = items
        return sampled

    def _mask_samples(
        self, proposals: Sequence[Instances], mask_head: nn.Module
    ) -> tuple[torch.Tensor, RoiRows | list[Boxes], Any]:
        """Choose the sampled proposals that masks are learned of.

        Args:
            proposals: what :meth:`label_and_sample_proposals` returned.
            mask_head: who learns.

        Returns:
            (F,) int64 index into the proposals' rows, the F regions, and what the head learns from: rows
            if it takes them and the proposals still know their ground truth, else lists.
        """
        if isinstance(proposals, ProposalBatch) and proposals.targets and takes_batches(mask_head):
            index, rows = proposals.foreground(self.num_classes, self.max_foreground)
            return index, rows, MaskRows(rows, proposals.targets)
        found, masks = select_foreground_proposals(as_list(proposals), self.num_classes)
        return torch.cat(masks).nonzero()[:, 0], [x.proposal_boxes for x in found], found

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
