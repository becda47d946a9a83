"""Reading maps at single points, and choosing the points worth reading (PointRend, CVPR 2020).

With channels last a pixel's channels lie together, so that a bilinear sample is a weighted sum of four rows
of a table: one bag of ``embedding_bag``, in the map's own precision. Which image a point is of is part of the
row's number, so points of all images go together and in any order.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch.autograd.function import once_differentiable

__all__ = ["grid_points", "place_in_boxes", "sample_maps", "uncertain_cells", "uncertain_points"]


def sample_maps(maps: torch.Tensor, owner: torch.Tensor, points: torch.Tensor) -> torch.Tensor:
    """Read maps at points, bilinearly and with zeros outside, as ``grid_sample`` does.

    Args:
        maps: (N, C, H, W), fastest with channels last.
        owner: (M,) int64, whose map a row of points is in.
        points: (M, P, 2) x and y in cells of the map: (0.5, 0.5) is the first one's centre.

    Returns:
        (M, P, C) of the maps' dtype; gradients go to the maps.
    """
    images, channels, height, width = maps.shape
    table = maps.permute(0, 2, 3, 1).reshape(images * height * width, channels)
    size = torch.tensor([width, height]).to(points.device, non_blocking=True)
    index, weight = bilinear_taps(points, size)
    index = index + (owner * (height * width))[:, None, None]
    values = _WeightedRows.apply(table, index.flatten(0, 1), weight.flatten(0, 1))
    return values.view(*points.shape[:2], channels)


def bilinear_taps(points: torch.Tensor, size: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the four cells around each point and their weights.

    Args:
        points: (..., 2) x and y in cells.
        size: (..., 2) int64 width and height of the maps, for all points or for each.

    Returns:
        (..., 4) int64 cells ``y * width + x``, and (..., 4) weights, 0 for cells beyond the map's edge.
    """
    # Beyond a cell outside nothing is read; this also keeps what is not finite from becoming an index.
    at = torch.minimum(points.detach().nan_to_num().clamp(min=-1) - 0.5, size + 1)
    low = at.floor()
    upper = at - low
    cells = torch.stack([low, low + 1])
    weights = torch.stack([1 - upper, upper]) * ((cells >= 0) & (cells < size))
    x, y = torch.minimum(cells.clamp(min=0).to(torch.int64), size - 1).unbind(-1)
    across, down = weights.unbind(-1)
    # Rows upper and lower, in each the cells left and right.
    index = y[:, None] * size[..., 0] + x[None]
    return index.flatten(0, 1).movedim(0, -1), (down[:, None] * across[None]).flatten(0, 1).movedim(0, -1)


class _WeightedRows(torch.autograd.Function):
    """Sums of four weighted rows of a table. What flows back adds up in float32 or better."""

    @staticmethod
    def forward(ctx: Any, table: torch.Tensor, index: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(index, weight)
        ctx.shape, ctx.dtype = table.shape, table.dtype
        return F.embedding_bag(index, table, mode="sum", per_sample_weights=weight.to(table.dtype))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: torch.Tensor) -> Any:
        index, weight = ctx.saved_tensors
        dtype = torch.promote_types(ctx.dtype, torch.float32)
        total = torch.zeros(ctx.shape, dtype=dtype, device=gradient.device)
        for cells, share in zip(index.unbind(1), weight.to(dtype).unbind(1), strict=True):
            total.index_add_(0, cells, gradient * share[:, None])
        return total.to(ctx.dtype), None, None


def place_in_boxes(points: torch.Tensor, boxes: torch.Tensor) -> torch.Tensor:
    """Move points that are shares of boxes to where the boxes are.

    Args:
        points: (M, P, 2) x and y from 0 to 1.
        boxes: (M, 4) XYXY.

    Returns:
        (M, P, 2) in the boxes' pixels.
    """
    boxes = boxes.detach()
    return points * (boxes[:, None, 2:] - boxes[:, None, :2]) + boxes[:, None, :2]


def grid_points(side: int, device: torch.device) -> torch.Tensor:
    """Return the (side * side, 2) centres x, y of a grid's cells as shares of its side, row by row."""
    centres = (torch.arange(side, device=device, dtype=torch.float32) + 0.5) / side
    y, x = torch.meshgrid(centres, centres, indexing="ij")
    return torch.stack([x, y], dim=-1).flatten(0, 1)


@torch.no_grad()
def uncertain_points(logits: torch.Tensor, count: int, oversample: float, importance: float) -> torch.Tensor:
    """Choose points to learn from: mostly where masks are undecided, some anywhere.

    Of ``oversample`` times as many uniform points those are taken whose logits are nearest to 0, so many as
    ``importance`` says; the rest are uniform (Kirillov et al., section 3.1).

    Args:
        logits: (M, h, w) of one class each.
        count: points of a mask.
        oversample: how many times as many are looked at, from 1.
        importance: the share of points chosen so, 0 to 1.

    Returns:
        (M, count, 2) float32 x and y as shares of the mask's sides.
    """
    undecided = int(importance * count)
    tried = torch.rand(len(logits), int(count * oversample), 2, device=logits.device)
    values = F.grid_sample(logits.detach().float()[:, None], tried[:, :, None] * 2 - 1, align_corners=False)
    order = values[:, 0, :, 0].abs().topk(undecided, dim=1, largest=False, sorted=False).indices
    chosen = tried.gather(1, order[:, :, None].expand(-1, -1, 2))
    return torch.cat([chosen, torch.rand(len(logits), count - undecided, 2, device=logits.device)], dim=1)


def uncertain_cells(logits: torch.Tensor, count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Choose the cells of masks whose logits are nearest to 0.

    Args:
        logits: (M, h, w).
        count: how many; all where there are fewer.

    Returns:
        (M, P) int64 cells ``y * w + x``, and their (M, P, 2) centres as shares of the mask's sides.
    """
    _, height, width = logits.shape
    count = min(count, height * width)
    cells = logits.flatten(1).abs().topk(count, dim=1, largest=False, sorted=False).indices
    x, y = cells % width, cells.div(width, rounding_mode="floor")
    return cells, torch.stack([(x + 0.5) / width, (y + 0.5) / height], dim=-1)
