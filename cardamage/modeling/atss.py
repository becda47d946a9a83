"""Which anchors learn which object, by thresholds that every object sets itself (ATSS)."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from .matcher import batched_iou

__all__ = ["ATSSMatcher"]

# Distances computed at once: bounds the memory of many objects on many places.
_MAX_PAIRS = 1 << 23
# Pixels: below these, where a center lies is a matter of rounding.
_INSIDE = 0.01
_CENTER_STEP = 1 / 256
# A thin object overlaps all equal anchors that hold it the same, but for rounding.
_EQUAL = 1e-4


class ATSSMatcher:
    """Adaptive training sample selection (Zhang et al., CVPR 2020, https://arxiv.org/abs/1912.02424).

    Candidates for an object are the anchors of the ``topk`` places of every level whose centers are nearest
    to its own. Of them those are foreground that overlap it by at least the mean of all its candidates'
    overlaps plus their standard deviation, and whose center lies in it; one that fits several objects goes
    to the one it overlaps most. All other anchors are background.

    So small, thin and large objects get about as many anchors each, whatever their shape is.
    """

    def __init__(self, topk: int = 9, allow_low_quality_matches: bool = False) -> None:
        """Set the rule.

        Args:
            topk: k of the paper, places of a level; where a place has several anchors, all are candidates.
            allow_low_quality_matches: an object that gets no anchor by the rule, such as one too thin for any
                center to lie in it, gets the candidate that overlaps it most (ties included). The paper
                leaves it out.
        """
        self.topk = topk
        self.allow_low_quality_matches = allow_low_quality_matches

    def match_anchors(
        self,
        levels: Sequence[torch.Tensor],
        per_place: Sequence[int],
        truths: torch.Tensor,
        gt_valid: torch.Tensor,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Match the anchors with the ground truth of a padded batch.

        Args:
            levels: every level's (Pi, 4) XYXY anchors, those of a place together; P in all.
            per_place: how many anchors a place of each level has.
            truths: (N, M, 4) XYXY.
            gt_valid: (N, M) bool, False for padding.

        Returns:
            (N, P) int64, the object's index where the label is 1 (else 0), and (N, P) int8 labels: 1 for
            foreground, 0 for background.
        """
        index = self._candidates(levels, per_place, truths)
        boxes = torch.cat(list(levels))[index]
        overlap = batched_iou(truths[:, :, None], boxes)[:, :, 0]
        chosen = self._qualified(overlap, _holds_centers(truths, boxes)) & gt_valid[:, :, None]
        return _best_object(index, overlap, chosen, sum(map(len, levels)))

    def _candidates(
        self, levels: Sequence[torch.Tensor], per_place: Sequence[int], truths: torch.Tensor
    ) -> torch.Tensor:
        """Return the (N, M, C) int64 indices of the objects' candidates among all anchors."""
        centers = ((truths[..., :2] + truths[..., 2:]) / 2).flatten(0, 1)
        first, found = 0, []
        for anchors, count in zip(levels, per_place, strict=True):
            middle = (anchors[::count, :2] + anchors[::count, 2:]) / 2
            # The exact place again, so that those equally far are known to be.
            places = (middle / _CENTER_STEP).round() * _CENTER_STEP
            nearest = _nearest(centers, places, min(self.topk, len(places)))
            members = torch.arange(count, device=nearest.device)
            found.append((nearest[..., None] * count + members).flatten(1) + first)
            first += len(anchors)
        return torch.cat(found, dim=1).unflatten(0, truths.shape[:2])

    def _qualified(self, overlap: torch.Tensor, inside: torch.Tensor) -> torch.Tensor:
        """Return (N, M, C) bool: the candidates that an object takes, of their overlaps with it."""
        # In float64 the mean of equal overlaps is not above them.
        exact = overlap.double()
        deviation = exact.std(dim=2, correction=min(1, overlap.shape[2] - 1))
        chosen = (exact >= (exact.mean(dim=2) + deviation)[..., None]) & inside
        if self.allow_low_quality_matches:
            best = (overlap >= overlap.amax(dim=2, keepdim=True) * (1 - _EQUAL)) & (overlap > 0)
            chosen = chosen | (best & ~chosen.any(dim=2, keepdim=True))
        return chosen


def _nearest(centers: torch.Tensor, places: torch.Tensor, count: int) -> torch.Tensor:
    """Return (R, count) int64: the places nearest to each of R centers, of equally near ones the first."""
    rows = max(_MAX_PAIRS // max(len(places), 1), 1)
    number = torch.arange(len(places), device=places.device)
    found = []
    for part in centers.split(rows):
        offset = part[:, None] - places
        distance = offset[..., 0].square() + offset[..., 1].square()
        # Floats that are not negative are in the order of their bits, so distance and place fit into one key.
        key = (distance.float().view(torch.int32).long() << 32) | number
        found.append(key.topk(count, dim=1, largest=False).values & 0xFFFFFFFF)
    return torch.cat(found)


def _holds_centers(truths: torch.Tensor, boxes: torch.Tensor) -> torch.Tensor:
    """Return (N, M, C) bool: whether the center of each of (N, M, C, 4) boxes is in its (N, M, 4) object."""
    center = (boxes[..., :2] + boxes[..., 2:]) / 2
    after = center - truths[:, :, None, :2] > _INSIDE
    before = truths[:, :, None, 2:] - center > _INSIDE
    return (after & before).all(dim=3)


def _best_object(
    index: torch.Tensor, overlap: torch.Tensor, chosen: torch.Tensor, num_anchors: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Give every anchor the object that has chosen it and that it overlaps most, of equal ones the first.

    Args:
        index: (N, M, C) int64 anchors.
        overlap: (N, M, C).
        chosen: (N, M, C) bool.
        num_anchors: P.

    Returns:
        As :meth:`ATSSMatcher.match_anchors`.
    """
    images, objects = index.shape[:2]
    flat = index.flatten(1)
    value = overlap.masked_fill(~chosen, -1.0).flatten(1)
    best = value.new_full((images, num_anchors), -1.0).scatter_reduce(1, flat, value, "amax")
    number = torch.arange(objects, device=index.device)[:, None].expand(index.shape[1:])
    wins = (value >= 0) & (value == best.gather(1, flat))
    candidate = number.reshape(1, -1).expand_as(flat).masked_fill(~wins, objects)
    winner = torch.full_like(best, objects, dtype=torch.int64).scatter_reduce(1, flat, candidate, "amin")
    labels = (best >= 0).to(torch.int8)
    return winner.masked_fill(labels == 0, 0), labels
