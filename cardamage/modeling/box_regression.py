"""How a box is told relative to another, and the losses on that."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from fvcore.nn import smooth_l1_loss

from cardamage.absent import absent_names
from cardamage.errors import ConfigValueError
from cardamage.structures import Boxes
from cardamage.utils.compiling import region

from .losses.boxes import overlap_loss

__all__ = ["Box2BoxTransform", "Box2BoxTransformLinear", "box_regression_loss"]

__getattr__ = absent_names(__name__)

# A predicted box is at most as much larger than its source as 1000 pixels are to 16.
_DEFAULT_SCALE_CLAMP = math.log(1000.0 / 16)
_OVERLAP_LOSSES = ("iou", "giou", "diou", "ciou")


def _center_size(boxes: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Centers and sizes, (..., 2) each."""
    size = boxes[..., 2:] - boxes[..., :2]
    return boxes[..., :2] + 0.5 * size, size


class Box2BoxTransform:
    """Offsets (dx, dy, dw, dh) from a source to a target box (R-CNN, https://arxiv.org/abs/1311.2524).

    The center moves by (dx, dy) sizes of the source; the size grows by exp(dw, dh). All methods take
    any number of leading dimensions.
    """

    def __init__(self, weights: Sequence[float], scale_clamp: float = _DEFAULT_SCALE_CLAMP) -> None:
        """Set the scale.

        Args:
            weights: what (dx, dy, dw, dh) are multiplied with, so that their spread is about 1.
            scale_clamp: the largest dw and dh that are applied.
        """
        self.weights = tuple(weights)
        self.scale_clamp = scale_clamp

    def get_deltas(self, src_boxes: torch.Tensor, target_boxes: torch.Tensor) -> torch.Tensor:
        """Return the offsets that lead from the source to the target boxes.

        Args:
            src_boxes: (..., 4) XYXY, of positive size.
            target_boxes: (..., 4) XYXY.

        Returns:
            (..., 4) offsets.
        """
        src_center, src_size = _center_size(src_boxes)
        center, size = _center_size(target_boxes)
        wx, wy, ww, wh = self.weights
        offset, scale = center - src_center, size / src_size
        return torch.stack(
            (
                wx * offset[..., 0] / src_size[..., 0],
                wy * offset[..., 1] / src_size[..., 1],
                ww * torch.log(scale[..., 0]),
                wh * torch.log(scale[..., 1]),
            ),
            dim=-1,
        )

    def apply_deltas(self, deltas: torch.Tensor, boxes: torch.Tensor) -> torch.Tensor:
        """Apply offsets to boxes, in float32 at least.

        Args:
            deltas: (..., k * 4) offsets, for instance one for each of k classes.
            boxes: (..., 4) XYXY.

        Returns:
            (..., k * 4) XYXY boxes.
        """
        deltas = deltas if deltas.dtype == torch.float64 else deltas.float()
        center, size = (t.unsqueeze(-2) for t in _center_size(boxes.to(deltas.dtype)))
        per_class = deltas.unflatten(-1, (-1, 4))
        wx, wy, ww, wh = self.weights
        new_x = per_class[..., 0] / wx * size[..., 0] + center[..., 0]
        new_y = per_class[..., 1] / wy * size[..., 1] + center[..., 1]
        half_w = 0.5 * torch.exp((per_class[..., 2] / ww).clamp(max=self.scale_clamp)) * size[..., 0]
        half_h = 0.5 * torch.exp((per_class[..., 3] / wh).clamp(max=self.scale_clamp)) * size[..., 1]
        corners = (new_x - half_w, new_y - half_h, new_x + half_w, new_y + half_h)
        return torch.stack(corners, dim=-1).flatten(-2)


class Box2BoxTransformLinear:
    """Distances from a source box's center to the four sides (FCOS, https://arxiv.org/abs/1904.01355)."""

    def __init__(self, normalize_by_size: bool = True) -> None:
        """Set the unit: the source's size, or the pixel."""
        self.normalize_by_size = normalize_by_size

    def _unit(self, size: torch.Tensor) -> torch.Tensor:
        return torch.cat([size, size], dim=-1) if self.normalize_by_size else torch.ones_like(size[..., :1])

    def get_deltas(self, src_boxes: torch.Tensor, target_boxes: torch.Tensor) -> torch.Tensor:
        """Return (left, top, right, bottom) of (..., 4) targets seen from (..., 4) sources."""
        center, size = _center_size(src_boxes)
        distances = torch.cat([center - target_boxes[..., :2], target_boxes[..., 2:] - center], dim=-1)
        return distances / self._unit(size)

    def apply_deltas(self, deltas: torch.Tensor, boxes: torch.Tensor) -> torch.Tensor:
        """Return the (..., k * 4) boxes that (..., k * 4) distances make of (..., 4) sources."""
        center, size = _center_size(boxes.to(deltas.dtype))
        sides = deltas.clamp(min=0).unflatten(-1, (-1, 4)) * self._unit(size).unsqueeze(-2)
        center = center.unsqueeze(-2)
        return torch.cat([center - sides[..., :2], center + sides[..., 2:]], dim=-1).flatten(-2)


@region
def box_regression_loss(
    transform: Box2BoxTransform | Box2BoxTransformLinear,
    src_boxes: torch.Tensor,
    deltas: torch.Tensor,
    gt_boxes: torch.Tensor,
    foreground: torch.Tensor,
    kind: str = "smooth_l1",
    beta: float = 0.0,
) -> torch.Tensor:
    """Return the summed localization loss of the foreground boxes.

    Rows that are not foreground may hold anything; they add nothing, and get a zero gradient.

    Args:
        transform: how ``deltas`` are told.
        src_boxes: (..., 4) anchors or proposals.
        deltas: (..., 4) predicted offsets.
        gt_boxes: (..., 4) the ground truth.
        foreground: (...) bool.
        kind: ``smooth_l1`` or ``l1`` on the offsets, or ``iou``, ``giou``, ``diou``, ``ciou`` on the boxes.
        beta: where smooth L1 turns from quadratic to linear; 0 for plain L1.

    Returns:
        A 0-d float32 tensor.

    Raises:
        ConfigValueError: an unknown ``kind``.
    """
    keep = foreground.unsqueeze(-1)
    # Before any division or logarithm, so that no NaN arises that a zero gradient can't undo.
    deltas = torch.where(keep, deltas.float(), torch.zeros((), device=deltas.device))
    unit = (torch.arange(4, device=src_boxes.device) // 2).to(src_boxes.dtype)  # the box (0, 0, 1, 1)
    src_boxes = torch.where(keep, src_boxes, unit)
    gt_boxes = torch.where(keep, gt_boxes.to(src_boxes.dtype), unit)
    if kind in ("smooth_l1", "l1"):
        target = transform.get_deltas(src_boxes, gt_boxes)
        loss = smooth_l1_loss(deltas, target, beta if kind == "smooth_l1" else 0.0, "none").sum(dim=-1)
    elif kind in _OVERLAP_LOSSES:
        loss = overlap_loss(transform.apply_deltas(deltas, src_boxes), gt_boxes, kind)
    else:
        raise ConfigValueError(
            f'BBOX_REG_LOSS_TYPE is "{kind}", but must be one of smooth_l1, l1, {", ".join(_OVERLAP_LOSSES)}'
        )
    return torch.where(foreground, loss, torch.zeros_like(loss)).sum()


def _dense_box_regression_loss(
    anchors: Sequence[Boxes | torch.Tensor],
    box2box_transform: Box2BoxTransform | Box2BoxTransformLinear,
    pred_anchor_deltas: Sequence[torch.Tensor],
    gt_boxes: Sequence[torch.Tensor],
    fg_mask: Any,
    box_reg_loss_type: str = "smooth_l1",
    smooth_l1_beta: float = 0.0,
) -> torch.Tensor:
    """Call :func:`box_regression_loss` as heads written for Detectron2 do.

    Args:
        anchors: per level (Pi, 4) boxes, P in all.
        box2box_transform: how offsets are told.
        pred_anchor_deltas: per level (N, Pi, 4).
        gt_boxes: per image (P, 4).
        fg_mask: (N, P) bool, or ``...`` for all.
        box_reg_loss_type: the loss's kind.
        smooth_l1_beta: see there.

    Returns:
        The 0-d sum over the foreground.
    """
    sources = torch.cat([a.tensor if isinstance(a, Boxes) else a for a in anchors])
    deltas = torch.cat(list(pred_anchor_deltas), dim=1)
    foreground = torch.zeros(deltas.shape[:2], dtype=torch.bool, device=deltas.device)
    foreground[...] = True if fg_mask is ... else fg_mask
    return box_regression_loss(
        box2box_transform,
        sources.expand_as(deltas),
        deltas,
        torch.stack(list(gt_boxes)),
        foreground,
        box_reg_loss_type,
        smooth_l1_beta,
    )
