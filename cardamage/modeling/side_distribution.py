"""Boxes told by how likely each side is where (Li et al., Generalized Focal Loss, arXiv:2006.04388)."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from cardamage.utils.compiling import region

from .box_regression import Box2BoxTransform
from .losses.distribution import distribution_focal

__all__ = ["SideDistribution", "SideTransform", "side_distribution_loss"]

# In units of the weights: with Detectron2's weights of 10, sides move by up to the source's size.
_LIMIT = 10.0
# The least distance of a side from the source's center, in sizes of the source, so that no box is empty.
_LEAST = 1e-3


class SideTransform:
    """How far outwards the four sides of a source box are to move, in sizes of the source.

    All methods take any number of leading dimensions.
    """

    def __init__(self, weights: Sequence[float]) -> None:
        """Set the scale: what horizontal and vertical moves are multiplied with, so that they are about 1."""
        self.weights = (weights[0], weights[1])

    def _units(self, boxes: torch.Tensor) -> torch.Tensor:
        """Return (..., 4) pixels that a move of 1 is, of each side."""
        size = boxes[..., 2:] - boxes[..., :2]
        horizontal, vertical = size[..., 0] / self.weights[0], size[..., 1] / self.weights[1]
        return torch.stack((horizontal, vertical, horizontal, vertical), dim=-1)

    def get_deltas(self, src_boxes: torch.Tensor, target_boxes: torch.Tensor) -> torch.Tensor:
        """Return the (..., 4) moves (left, top, right, bottom) that lead from sources to targets.

        Args:
            src_boxes: (..., 4) XYXY, of positive size.
            target_boxes: (..., 4) XYXY.
        """
        moves = target_boxes - src_boxes
        return torch.cat([-moves[..., :2], moves[..., 2:]], dim=-1) / self._units(src_boxes)

    def apply_deltas(self, deltas: torch.Tensor, boxes: torch.Tensor) -> torch.Tensor:
        """Return the (..., k * 4) XYXY boxes that (..., k * 4) moves make of (..., 4) sources.

        No side crosses the source's center.
        """
        boxes = boxes.to(deltas.dtype)
        center, size = (boxes[..., :2] + boxes[..., 2:]) / 2, boxes[..., 2:] - boxes[..., :2]
        both = torch.cat([size, size], dim=-1).unsqueeze(-2)
        moved = deltas.unflatten(-1, (-1, 4)) * self._units(boxes).unsqueeze(-2)
        sides = torch.maximum(0.5 * both + moved, _LEAST * both)
        center = center.unsqueeze(-2)
        return torch.cat([center - sides[..., :2], center + sides[..., 2:]], dim=-1).flatten(-2)


class SideDistribution:
    """The same moves as the means of distributions, for what the box head's layer gives.

    Of every side there are ``bins`` scores, those of moves in equal steps from a limit inwards to the same
    outwards. Takes the place of a :class:`~cardamage.modeling.box_regression.Box2BoxTransform`.

    Attributes:
        bins: scores of each side.
        sides: applies the mean moves.
    """

    def __init__(self, transform: Box2BoxTransform, bins: int) -> None:
        """Take the scale of ``transform``, which later stages of a cascade have a finer one of."""
        self.bins = bins
        self.sides = SideTransform(transform.weights)

    def means(self, scores: torch.Tensor) -> torch.Tensor:
        """Return the (..., k * 4) mean moves of (..., k * 4 * bins) scores, in float32 at least."""
        scores = scores if scores.dtype == torch.float64 else scores.float()
        steps = torch.linspace(-_LIMIT, _LIMIT, self.bins, device=scores.device, dtype=scores.dtype)
        return (scores.unflatten(-1, (-1, self.bins)).softmax(dim=-1) * steps).sum(dim=-1)

    def get_deltas(self, src_boxes: torch.Tensor, target_boxes: torch.Tensor) -> torch.Tensor:
        """See :meth:`SideTransform.get_deltas`."""
        return self.sides.get_deltas(src_boxes, target_boxes)

    def apply_deltas(self, deltas: torch.Tensor, boxes: torch.Tensor) -> torch.Tensor:
        """Return the (..., k * 4) XYXY boxes that (..., k * 4 * bins) scores make of (..., 4) sources."""
        return self.sides.apply_deltas(self.means(deltas), boxes)

    def places(self, deltas: torch.Tensor) -> torch.Tensor:
        """Return where (..., 4) moves are among the bins: 0 to ``bins - 1``, with fractions."""
        return ((deltas + _LIMIT) / (2 * _LIMIT)).clamp(0, 1) * (self.bins - 1)


@region
def side_distribution_loss(
    transform: SideDistribution,
    src_boxes: torch.Tensor,
    scores: torch.Tensor,
    gt_boxes: torch.Tensor,
    foreground: torch.Tensor,
) -> torch.Tensor:
    """Return the sum over the foreground's boxes of their sides' mean distribution focal loss.

    Args:
        transform: what the scores mean.
        src_boxes: (M, 4) proposals.
        scores: (M, 4, bins).
        gt_boxes: (M, 4) the ground truth.
        foreground: (M,) bool; other rows may hold anything, add nothing and get a zero gradient.

    Returns:
        A 0-d tensor.
    """
    scores = torch.where(foreground[:, None, None], scores, torch.zeros_like(scores))
    keep = foreground[:, None]
    unit = (torch.arange(4, device=src_boxes.device) // 2).to(src_boxes.dtype)  # the box (0, 0, 1, 1)
    src_boxes = torch.where(keep, src_boxes, unit)
    gt_boxes = torch.where(keep, gt_boxes.to(src_boxes.dtype), unit)
    places = transform.places(transform.get_deltas(src_boxes, gt_boxes))
    loss = distribution_focal(scores, places).mean(dim=1)
    return torch.where(foreground, loss, torch.zeros_like(loss)).sum()
