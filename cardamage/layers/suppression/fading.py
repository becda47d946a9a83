"""Soft suppression with plain operations: all groups take their best boxes in step."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F

__all__ = ["fade", "first_best"]

# Boxes of the groups that go in step, on a processor: their numbers stay in its cache.
_MAX_BOXES = 2**16
# Steps between two looks at how many boxes are left; on a GPU a look is a wait.
_CHECK_PERIOD = 16
# Less than any score; multiplied by 1 it stays so.
_TAKEN = -1.0
# Boxes are moved together where no more than this share of their places is in use.
_FULL = 0.8


def fade(
    boxes: torch.Tensor,
    scores: torch.Tensor,
    valid: torch.Tensor,
    gaussian: bool,
    sigma: float,
    iou_threshold: float,
    score_threshold: float,
) -> torch.Tensor:
    """Do :func:`.soft.soft_nms_scores` on any device.

    Args:
        boxes: (G, K, 4), of the scores' dtype.
        scores: (G, K) float32 or float64.
        valid: (G, K) bool.
        gaussian: whether to fade by the gaussian rather than linearly.
        sigma: the gaussian's width.
        iou_threshold: for fading linearly.
        score_threshold: what falls below is dropped.

    Returns:
        (G, K) the new scores.
    """
    groups, size = scores.shape
    step = max(1, _MAX_BOXES // size) if scores.device.type == "cpu" else groups
    parts = []
    for start in range(0, groups, step):
        part = slice(start, start + step)
        field = _Field.of(boxes[part], scores[part], valid[part])
        parts.append(field.run(_Rule(gaussian, sigma, iou_threshold), max(score_threshold, 0.0)))
    final = torch.cat(parts)
    return torch.where(final >= score_threshold, final, 0.0)


@dataclass(frozen=True)
class _Rule:
    gaussian: bool
    sigma: float
    iou_threshold: float

    def factors(self, iou: torch.Tensor) -> torch.Tensor:
        """Return what is left of a score, in the overlaps' place."""
        if self.gaussian:
            return iou.square_().div_(-self.sigma).exp_()
        # An overlap at the threshold counts: it is above the number before.
        limit = torch.full((), self.iou_threshold, dtype=iou.dtype)
        below = float(limit.nextafter(torch.full_like(limit, -math.inf)))
        return F.threshold(iou, below, 0.0, inplace=True).neg_().add_(1)


@dataclass(eq=False)
class _Field:
    """The boxes that are left, W of each of g groups.

    Attributes:
        sides: (4, g, W) x0, y0, x1, y1; x1 of a taken box is minus infinity, so that it overlaps nothing.
        areas: (g, W).
        left: (g, W) scores, below 0 where taken.
        cells: (g, W) int64, the place of each box in ``result``.
        result: the final scores of the boxes taken so far.
    """

    sides: torch.Tensor
    areas: torch.Tensor
    left: torch.Tensor
    cells: torch.Tensor
    result: torch.Tensor

    @classmethod
    def of(cls, boxes: torch.Tensor, scores: torch.Tensor, valid: torch.Tensor) -> _Field:
        sides = boxes.masked_fill(~valid[..., None], 0).movedim(-1, 0).contiguous()
        areas = (sides[2] - sides[0]) * (sides[3] - sides[1])
        sides[2].masked_fill_(~valid, -math.inf)
        cells = torch.arange(scores.numel(), device=scores.device).view_as(scores)
        left = scores.masked_fill(~valid, _TAKEN)
        return cls(sides, areas, left, cells, torch.zeros_like(left))

    def run(self, rule: _Rule, least: float) -> torch.Tensor:
        """Take boxes until none is left that scores enough.

        A box taken after all that remain fell below the least score can only fade others that did too, so
        groups that are done may go on without harm.
        """
        for step in range(self.left.shape[1]):
            if step % _CHECK_PERIOD == 0 and not self._compact(least):
                break
            self._take(rule)
        return self.result

    def _take(self, rule: _Rule) -> None:
        """Take the best box of every group, and fade the others."""
        index = first_best(self.left)
        best = self.left.gather(1, index)
        x0, y0, x1, y1 = self.sides.gather(2, index.expand(4, -1, -1))
        area = self.areas.gather(1, index)
        cell = self.cells.gather(1, index)
        # Of a group that is done, a box that was taken before: it keeps its score.
        self.result.view(-1)[cell] = torch.maximum(best, self.result.view(-1)[cell])
        self.left.scatter_(1, index, _TAKEN)
        self.sides[2].scatter_(1, index, -math.inf)
        width = torch.minimum(self.sides[2], x1).sub_(torch.maximum(self.sides[0], x0)).clamp_(min=0)
        height = torch.minimum(self.sides[3], y1).sub_(torch.maximum(self.sides[1], y0)).clamp_(min=0)
        common = width.mul_(height)
        union = torch.add(self.areas, area).sub_(common)
        # Where both are zero there is no overlap.
        iou = common.div_(union.clamp_(min=torch.finfo(union.dtype).tiny))
        self.left.mul_(rule.factors(iou))

    def _compact(self, least: float) -> bool:
        """Leave out what is taken or scores too little, where that is much; tell whether anything is left."""
        alive = self.left >= least
        counts = alive.sum(dim=1)
        most, groups = int(counts.max()), int((counts > 0).sum())
        if most == 0:
            return False
        if groups <= _FULL * len(counts):
            rows = (counts > 0).nonzero()[:, 0]
            alive = alive[rows]
            self.sides, self.areas = self.sides[:, rows], self.areas[rows]
            self.left, self.cells = self.left[rows], self.cells[rows]
        if most <= _FULL * alive.shape[1]:
            # What is left out goes to a place of its own at the end.
            place = alive.cumsum(dim=1).sub_(1).masked_fill_(~alive, most)
            self.sides = _moved(self.sides, place.expand(4, -1, -1), most + 1)
            self.areas, self.cells = (_moved(values, place, most + 1) for values in (self.areas, self.cells))
            self.left = _moved(self.left, place, most + 1)
            unused = torch.arange(most + 1, device=counts.device) >= alive.sum(dim=1, keepdim=True)
            self.left.masked_fill_(unused, _TAKEN)
            self.sides[2].masked_fill_(unused, -math.inf)
        return True


def _moved(values: torch.Tensor, place: torch.Tensor, width: int) -> torch.Tensor:
    return values.new_zeros(*values.shape[:-1], width).scatter_(-1, place, values)


def first_best(scores: torch.Tensor) -> torch.Tensor:
    """Return (g, 1) int64, the first of the best of every row of (g, W), W above 0."""
    if scores.device.type == "cpu":
        # Ten times as fast as torch's.
        return torch.from_numpy(scores.numpy().argmax(axis=1))[:, None]
    return scores.argmax(dim=1, keepdim=True)
