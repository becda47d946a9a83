"""Masks kept as one bool picture per object."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torchvision.ops import roi_align

from .boxes import Boxes
from .polygon_masks import PolygonMasks
from .polygons import polygons_to_bitmask


class BitMasks:
    """The masks of an image's objects as bool pictures of the image's size.

    Attributes:
        tensor: bool (N, H, W).
        image_size: (H, W).
    """

    def __init__(self, tensor: Any) -> None:
        """Take an (N, H, W) tensor or array of any dtype; nonzero is inside.

        Raises:
            ValueError: not three-dimensional.
        """
        if isinstance(tensor, torch.Tensor):
            tensor = tensor.to(torch.bool)
        else:
            tensor = torch.as_tensor(np.asarray(tensor), dtype=torch.bool, device="cpu")
        if tensor.dim() != 3:
            raise ValueError(f"BitMasks need a tensor of shape (N, H, W), got shape {tuple(tensor.shape)}.")
        self.image_size: tuple[int, int] = (int(tensor.shape[1]), int(tensor.shape[2]))
        self.tensor: torch.Tensor = tensor

    @staticmethod
    def from_polygon_masks(
        polygon_masks: PolygonMasks | list[list[np.ndarray]], height: int, width: int
    ) -> BitMasks:
        """Draw polygons, as COCO does, on pictures of height x width pixels."""
        masks = [polygons_to_bitmask(polygons, height, width) for polygons in polygon_masks]
        if not masks:
            return BitMasks(torch.empty(0, height, width, dtype=torch.bool))
        return BitMasks(torch.from_numpy(np.stack(masks)))

    @staticmethod
    def cat(bitmasks_list: Sequence[BitMasks]) -> BitMasks:
        """Join masks of one picture size.

        Raises:
            ValueError: none given.
        """
        if not bitmasks_list:
            raise ValueError("BitMasks.cat needs at least one BitMasks.")
        return BitMasks(torch.cat([masks.tensor for masks in bitmasks_list], dim=0))

    def to(self, *args: Any, **kwargs: Any) -> BitMasks:
        """Move to a device."""
        return BitMasks(self.tensor.to(*args, **kwargs))

    @property
    def device(self) -> torch.device:
        """The device of the tensor."""
        return self.tensor.device

    def nonempty(self) -> torch.Tensor:
        """Tell, as bool (N,), which masks have a pixel."""
        return self.tensor.flatten(1).any(dim=1)

    def area(self) -> torch.Tensor:
        """Count the pixels of each mask, int64 (N,)."""
        return self.tensor.flatten(1).sum(dim=1)

    def get_centers(self) -> torch.Tensor:
        """Return each mask's centre of mass x, y, float32 (N, 2); pixel (0, 0) has its centre at 0.5, 0.5."""
        _, height, width = self.tensor.shape
        columns = self.tensor.sum(dim=1).to(torch.float64)
        rows = self.tensor.sum(dim=2).to(torch.float64)
        count = columns.sum(dim=1).clamp(min=1)
        x = columns @ _pixel_centers(width, columns) / count
        y = rows @ _pixel_centers(height, rows) / count
        return torch.stack((x, y), dim=1).to(torch.float32)

    def get_bounding_boxes(self) -> Boxes:
        """Return tight boxes around the pixels, on the masks' device.

        A mask of one pixel has a box of width and height 1; an empty mask has all zeros.
        """
        x0, x1 = _extent(self.tensor.any(dim=1))
        y0, y1 = _extent(self.tensor.any(dim=2))
        return Boxes(torch.stack((x0, y0, x1, y1), dim=1).to(torch.float32))

    def crop_and_resize(self, boxes: torch.Tensor, mask_size: int) -> torch.Tensor:
        """Cut mask i out by box i and resample it to a square: the targets of a mask head.

        Args:
            boxes: (N, 4), one per mask.
            mask_size: the side of the result in cells.

        Returns:
            bool (N, mask_size, mask_size) on the masks' device: cells at least half covered.

        Raises:
            ValueError: boxes and masks differ in number.
        """
        if len(boxes) != len(self):
            raise ValueError(f"crop_and_resize needs a box for each mask, got {len(boxes)} and {len(self)}.")
        boxes = boxes.to(device=self.device, dtype=torch.float32)
        rows = torch.arange(len(boxes), device=self.device, dtype=torch.float32)
        rois = torch.cat((rows[:, None], boxes), dim=1)
        pictures = self.tensor[:, None].to(torch.float32)
        return roi_align(pictures, rois, (mask_size, mask_size), 1.0, 0, True).squeeze(1) >= 0.5

    def __getitem__(self, item: Any) -> BitMasks:
        """Select masks by int (kept as one mask), slice, or a bool or integer vector.

        Raises:
            ValueError: the selection is not (N, H, W).
        """
        if isinstance(item, (int, np.integer)) and not isinstance(item, bool):
            return BitMasks(self.tensor[int(item)].unsqueeze(0))
        selected = self.tensor[item]
        if selected.dim() != 3:
            raise ValueError(f"BitMasks indexed with {item!r} give shape {tuple(selected.shape)}.")
        return BitMasks(selected)

    def __iter__(self) -> Iterator[torch.Tensor]:
        """Yield each mask as a tensor (H, W)."""
        yield from self.tensor

    def __len__(self) -> int:
        return self.tensor.shape[0]

    def __repr__(self) -> str:
        return f"BitMasks(num_instances={len(self)})"


def _pixel_centers(length: int, like: torch.Tensor) -> torch.Tensor:
    return torch.arange(length, device=like.device, dtype=like.dtype) + 0.5


def _extent(occupied: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the first occupied position and the last one plus 1 of each row of (N, L); 0, 0 if none."""
    length = occupied.shape[1]
    if length == 0:
        zeros = occupied.new_zeros(len(occupied), dtype=torch.int64)
        return zeros, zeros
    flags = occupied.to(torch.uint8)
    first = flags.argmax(dim=1)
    last = length - flags.flip(1).argmax(dim=1)
    found = occupied.any(dim=1)
    return first * found, last * found
