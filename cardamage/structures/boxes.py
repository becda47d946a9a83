"""Axis-aligned boxes; with what Detectron2 has beside them in this module."""

from __future__ import annotations

from typing import Any

import torch
from torch import device

from .box_mode import BoxMode
from .box_overlap import (
    matched_pairwise_iou,
    pairwise_intersection,
    pairwise_ioa,
    pairwise_iou,
    pairwise_point_box_distance,
)

__all__ = [
    "BoxMode",
    "Boxes",
    "matched_pairwise_iou",
    "pairwise_intersection",
    "pairwise_ioa",
    "pairwise_iou",
    "pairwise_point_box_distance",
]


class Boxes:
    """A matrix of boxes that can be indexed, moved and measured like a list of boxes.

    TorchScript can compile it; the types of its methods are those TorchScript knows.

    Attributes:
        tensor: float32 matrix (N, 4), each row x0, y0, x1, y1 in pixels.
    """

    def __init__(self, tensor: torch.Tensor) -> None:
        """Take an (N, 4) tensor, array or nested list; anything empty becomes (0, 4).

        Raises:
            ValueError: the shape is not (N, 4).
        """
        if not isinstance(tensor, torch.Tensor):
            tensor = torch.as_tensor(tensor, dtype=torch.float32, device="cpu")
        tensor = tensor.to(torch.float32)
        if tensor.numel() == 0:
            tensor = tensor.reshape(-1, 4)
        if tensor.dim() != 2 or tensor.size(-1) != 4:
            raise ValueError(f"Boxes need a matrix of shape (N, 4), got shape {list(tensor.shape)}.")
        self.tensor = tensor

    @classmethod
    def cat(cls, boxes_list: list[Boxes]) -> Boxes:
        """Join several sets of boxes into one that shares no memory with them."""
        if len(boxes_list) == 0:
            return cls(torch.empty(0, 4))
        return cls(torch.cat([boxes.tensor for boxes in boxes_list], dim=0))

    def clone(self) -> Boxes:
        """Copy the boxes."""
        return Boxes(self.tensor.clone())

    def to(self, device: device, non_blocking: bool = False) -> Boxes:
        """Move to a device. The dtype always stays float32."""
        return Boxes(self.tensor.to(device=device, non_blocking=non_blocking))

    @property
    def device(self) -> device:
        """The device of the tensor."""
        return self.tensor.device

    def area(self) -> torch.Tensor:
        """Return the areas in square pixels, shape (N,)."""
        return _area(self.tensor)

    def clip(self, box_size: tuple[int, int]) -> None:
        """Cut the boxes, in place, to an image of (height, width).

        Raises:
            ValueError: a coordinate is infinite or NaN.
        """
        if not torch.isfinite(self.tensor).all():
            raise ValueError("Boxes hold infinite or NaN coordinates, so they can't be clipped to an image.")
        height, width = box_size
        xs = self.tensor[:, 0::2].clamp(min=0, max=width)
        ys = self.tensor[:, 1::2].clamp(min=0, max=height)
        self.tensor = torch.stack((xs[:, 0], ys[:, 0], xs[:, 1], ys[:, 1]), dim=1)

    def nonempty(self, threshold: float = 0.0) -> torch.Tensor:
        """Tell, as bool (N,), which boxes have both sides longer than ``threshold`` pixels."""
        sides = self.tensor[:, 2:] - self.tensor[:, :2]
        return (sides > threshold).all(dim=1)

    def inside_box(self, box_size: tuple[int, int], boundary_threshold: int = 0) -> torch.Tensor:
        """Tell, as bool (N,), which boxes lie in an image of (height, width), or within a margin of it."""
        height, width = box_size
        x0, y0, x1, y1 = self.tensor.unbind(dim=-1)
        starts_inside = (x0 >= -boundary_threshold) & (y0 >= -boundary_threshold)
        return starts_inside & (x1 < width + boundary_threshold) & (y1 < height + boundary_threshold)

    def get_centers(self) -> torch.Tensor:
        """Return the centres as (N, 2), each x, y."""
        return (self.tensor[:, :2] + self.tensor[:, 2:]) / 2

    def scale(self, scale_x: float, scale_y: float) -> None:
        """Multiply the coordinates in place."""
        self.tensor[:, 0::2] *= scale_x
        self.tensor[:, 1::2] *= scale_y

    @torch.jit.unused
    def __getitem__(self, item: Any) -> Boxes:
        """Select boxes by int (kept as one box), slice, or a bool or integer vector.

        Raises:
            ValueError: the selection is not a matrix of boxes.
        """
        if isinstance(item, int) and not isinstance(item, bool):
            return Boxes(self.tensor[item].view(1, 4))
        selected = self.tensor[item]
        if selected.dim() != 2:
            raise ValueError(f"Boxes indexed with {item!r} give shape {tuple(selected.shape)}, not (N, 4).")
        return Boxes(selected)

    def __len__(self) -> int:
        return self.tensor.shape[0]

    @torch.jit.unused
    def __iter__(self) -> Any:
        """Yield each box as a tensor of shape (4,)."""
        yield from self.tensor

    def __repr__(self) -> str:
        return f"Boxes({self.tensor})"


def _area(boxes: torch.Tensor) -> torch.Tensor:
    return (boxes[..., 2] - boxes[..., 0]) * (boxes[..., 3] - boxes[..., 1])
