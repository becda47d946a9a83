"""Which anchors show an object, by the matcher that ``MODEL.RPN.ASSIGNER`` names."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from cardamage.structures import Boxes

from ..atss import ATSSMatcher
from ..batch import TargetBatch, size_tensor
from ..matcher import Matcher, match_boxes

__all__ = ["AnchorMatcher", "build_anchor_matcher", "match_anchors"]

AnchorMatcher = Matcher | ATSSMatcher

# Overlaps computed at once: bounds the memory of matching many anchors in a large batch.
_MAX_PAIRS = 1 << 26


def build_anchor_matcher(node: Any) -> AnchorMatcher:
    """Make the matcher that the config node ``MODEL.RPN`` describes."""
    if node.ASSIGNER == "atss":
        return ATSSMatcher(node.ATSS_TOPK, allow_low_quality_matches=True)
    return Matcher(node.IOU_THRESHOLDS, node.IOU_LABELS, allow_low_quality_matches=True)


def match_anchors(
    matcher: AnchorMatcher,
    levels: Sequence[Boxes],
    per_place: Sequence[int],
    truth: TargetBatch,
    boundary: float,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Match all anchors with the ground truth.

    Args:
        matcher: the rule.
        levels: every level's anchors, P in all.
        per_place: how many anchors a place of each level has.
        truth: the ground truth of N images.
        boundary: ignore anchors that reach this many pixels out of the image; below 0 for none.

    Returns:
        (N, P) int64, every anchor's object, and (N, P) int8 labels: 1 for foreground, 0 for background, -1
        to ignore.
    """
    grids = [level.tensor for level in levels]
    anchors = torch.cat(grids)
    if isinstance(matcher, ATSSMatcher):
        matches, labels = matcher.match_anchors(grids, per_place, truth.boxes, truth.valid)
    else:
        matches, labels = _match_overlaps(matcher, anchors, truth)
    if boundary >= 0:
        limits = size_tensor([x.image_size for x in truth.instances], labels.device)[:, None] + boundary
        low = (anchors[:, :2] >= -boundary).all(dim=1)
        high = (anchors[:, 2:] < limits[..., 2:]).all(dim=2)
        labels = labels.masked_fill(~(low & high), -1)
    return matches, labels


def _match_overlaps(
    matcher: Matcher, anchors: torch.Tensor, truth: TargetBatch
) -> tuple[torch.Tensor, torch.Tensor]:
    """Match (P, 4) anchors by all their overlaps, so many images at a time as memory bears."""
    chunk = max(_MAX_PAIRS // max(truth.boxes.shape[1] * len(anchors), 1), 1)
    parts = [
        match_boxes(matcher, boxes, anchors, valid)
        for boxes, valid in zip(truth.boxes.split(chunk), truth.valid.split(chunk), strict=True)
    ]
    matches, labels = (torch.cat(part) for part in zip(*parts, strict=True))
    return matches, labels
