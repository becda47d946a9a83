"""Which ground truth a box belongs to, by overlap."""

from __future__ import annotations

from collections.abc import Callable

import torch

from cardamage.errors import ConfigValueError
from cardamage.utils.compiling import region

__all__ = ["Matcher", "batched_iou", "match_boxes", "match_padded"]


def batched_iou(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    """Return the intersection over union of every pair, image by image.

    Args:
        first: (..., M, 4) XYXY boxes.
        second: (..., P, 4) XYXY boxes; the leading dimensions broadcast.

    Returns:
        (..., M, P) values in [0, 1]; 0 where two boxes do not overlap.
    """
    a, b = first.unsqueeze(-2), second.unsqueeze(-3)
    width = torch.minimum(a[..., 2], b[..., 2]) - torch.maximum(a[..., 0], b[..., 0])
    height = torch.minimum(a[..., 3], b[..., 3]) - torch.maximum(a[..., 1], b[..., 1])
    inter = width.clamp_(min=0) * height.clamp_(min=0)
    area_a = (a[..., 2] - a[..., 0]) * (a[..., 3] - a[..., 1])
    area_b = (b[..., 2] - b[..., 0]) * (b[..., 3] - b[..., 1])
    iou = inter / (area_a + area_b - inter)
    # Two empty boxes divide zero by zero.
    return torch.where(inter > 0, iou, torch.zeros_like(iou))


class Matcher:
    """Give every prediction its best ground truth, and a label by how good that match is.

    The rule of Faster R-CNN (https://arxiv.org/abs/1506.01497, section 3.1.2): thresholds on the
    best overlap, and on request every prediction that is the best one some ground truth can get.
    """

    def __init__(
        self, thresholds: list[float], labels: list[int], allow_low_quality_matches: bool = False
    ) -> None:
        """Set the rule.

        Args:
            thresholds: increasing positive bounds between the labels' intervals; a bound belongs
                to the interval above it.
            labels: one more than bounds, each -1 (ignore), 0 (background) or 1 (foreground).
            allow_low_quality_matches: also call foreground every prediction whose overlap with
                some ground truth is the highest (ties included) that this ground truth has.

        Raises:
            ConfigValueError: bounds and labels that do not fit.
        """
        bounds = list(thresholds)
        if not bounds or bounds[0] <= 0 or sorted(bounds) != bounds:
            raise ConfigValueError(f"IOU_THRESHOLDS {bounds} must be positive and increasing")
        if len(labels) != len(bounds) + 1 or any([label not in [-1, 0, 1] for label in labels]):
            raise ConfigValueError(
                f"IOU_LABELS {list(labels)} must be {len(bounds) + 1} values of -1, 0 and 1 "
                f"for the {len(bounds)} IOU_THRESHOLDS"
            )
        self.thresholds = [-float("inf")] + bounds + [float("inf")]
        self.labels = list(labels)
        self.allow_low_quality_matches = allow_low_quality_matches

    def __call__(self, match_quality_matrix: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Match the predictions of one image.

        Args:
            match_quality_matrix: (M, P) overlaps >= 0 of M ground truths and P predictions.

        Returns:
            (P,) int64, the best ground truth's index (0 where there is none), and (P,) int8 labels.
        """
        quality = match_quality_matrix[None]
        valid = torch.ones(quality.shape[:2], dtype=torch.bool, device=quality.device)
        matches, labels = self.match_batch(quality, valid, None)
        return matches[0], labels[0]

    def match_batch(
        self, quality: torch.Tensor, gt_valid: torch.Tensor, pred_valid: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Match the predictions of a padded batch.

        Args:
            quality: (N, M, P) overlaps >= 0.
            gt_valid: (N, M) bool, False for padding.
            pred_valid: (N, P) bool, False for padding; such predictions get the label -1.

        Returns:
            (N, P) int64, the best ground truth's index (0 where there is none), and (N, P) int8
            labels.
        """
        n, m, p = quality.shape
        if m == 0:
            matches = torch.zeros((n, p), dtype=torch.int64, device=quality.device)
            best = torch.full((n, p), -1.0, device=quality.device)
        else:
            # Padding lies below every real overlap, so it is never the best of either side.
            quality = quality.masked_fill(~gt_valid[:, :, None], -1.0)
            if pred_valid is not None:
                quality = quality.masked_fill(~pred_valid[:, None, :], -1.0)
            best, matches = quality.max(dim=1)
        labels = self._labels(best)
        if self.allow_low_quality_matches and m > 0 and p > 0:
            labels = labels.masked_fill(_best_of_some(quality, gt_valid), 1)
        if pred_valid is not None:
            labels = labels.masked_fill(~pred_valid, -1)
        return matches, labels

    def set_low_quality_matches_(
        self, match_labels: torch.Tensor, match_quality_matrix: torch.Tensor
    ) -> None:
        """Label as foreground, in place, what overlaps some ground truth most.

        Args:
            match_labels: (P,) labels.
            match_quality_matrix: (M, P) overlaps, M > 0.
        """
        valid = torch.ones((1, len(match_quality_matrix)), dtype=torch.bool, device=match_labels.device)
        match_labels[_best_of_some(match_quality_matrix[None], valid)[0]] = 1

    def _labels(self, best: torch.Tensor) -> torch.Tensor:
        labels = torch.full(best.shape, self.labels[0], dtype=torch.int8, device=best.device)
        for i in range(1, len(self.labels)):
            labels = labels.masked_fill(best >= self.thresholds[i], self.labels[i])
        return labels


def _best_of_some(quality: torch.Tensor, gt_valid: torch.Tensor) -> torch.Tensor:
    """Return (N, P) bool: the predictions that overlap some ground truth most."""
    return ((quality == quality.amax(dim=2, keepdim=True)) & gt_valid[:, :, None]).any(dim=1)


def match_padded(
    matcher: Callable[..., tuple[torch.Tensor, torch.Tensor]],
    quality: torch.Tensor,
    gt_valid: torch.Tensor,
    pred_valid: torch.Tensor | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Match a padded batch, with a matcher of a user's own image by image.

    Args:
        matcher: a :class:`Matcher`, or of its call's form.
        quality: see :meth:`Matcher.match_batch`.
        gt_valid: see there.
        pred_valid: see there.

    Returns:
        As :meth:`Matcher.match_batch`.
    """
    if isinstance(matcher, Matcher) and type(matcher).__call__ is Matcher.__call__:
        return _match(matcher, quality, gt_valid, pred_valid)
    if pred_valid is None:
        pred_valid = gt_valid.new_ones((quality.shape[0], quality.shape[2]))
    matches = torch.zeros(pred_valid.shape, dtype=torch.int64, device=quality.device)
    labels = torch.full_like(matches, -1, dtype=torch.int8)
    for i, (truths, predictions) in enumerate(zip(gt_valid, pred_valid, strict=True)):
        found, label = matcher(quality[i][truths][:, predictions])
        matches[i, predictions] = found
        labels[i, predictions] = label.to(torch.int8)
    return matches, labels


# Two parts: the overlaps are rounded once, for all who compare them.
_overlap = region(batched_iou)
_match = region(Matcher.match_batch)


def match_boxes(
    matcher: Callable[..., tuple[torch.Tensor, torch.Tensor]],
    truths: torch.Tensor,
    boxes: torch.Tensor,
    gt_valid: torch.Tensor,
    pred_valid: torch.Tensor | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Match boxes with the ground truth of a padded batch.

    Args:
        matcher: see :func:`match_padded`.
        truths: (N, M, 4) XYXY.
        boxes: (N, P, 4) XYXY, or (P, 4) for all images.
        gt_valid: (N, M) bool.
        pred_valid: (N, P) bool, or None for all.

    Returns:
        As :meth:`Matcher.match_batch`.
    """
    return match_padded(matcher, _overlap(truths, boxes), gt_valid, pred_valid)
