"""Masks kept as run lengths: full-size masks in a few kilobytes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pycocotools.mask as mask_util
import torch

from .boxes import Boxes
from .polygon_masks import index_list


class RLEMasks:
    """The masks of an image's objects as COCO run lengths, on the CPU.

    Attributes:
        rles: dicts ``{"size": [height, width], "counts": bytes}`` as pycocotools writes them.
        image_size: (height, width).
    """

    def __init__(self, rles: Sequence[dict[str, Any]], image_size: tuple[int, int]) -> None:
        """Take compressed run lengths that are all of ``image_size`` (height, width).

        Raises:
            ValueError: one is of another size.
        """
        self.rles: list[dict[str, Any]] = list(rles)
        self.image_size: tuple[int, int] = (int(image_size[0]), int(image_size[1]))
        for number, rle in enumerate(self.rles):
            if tuple(rle["size"]) != self.image_size:
                raise ValueError(f"Mask {number} is of size {tuple(rle['size'])}, not {self.image_size}.")

    @staticmethod
    def from_tensor(masks: torch.Tensor) -> RLEMasks:
        """Encode masks (N, H, W), nonzero inside."""
        pictures = masks.detach().to("cpu").to(torch.bool).numpy()
        rles = [mask_util.encode(np.asfortranarray(picture, dtype=np.uint8)) for picture in pictures]
        return RLEMasks(rles, (int(masks.shape[1]), int(masks.shape[2])))

    @staticmethod
    def cat(masks_list: Sequence[RLEMasks]) -> RLEMasks:
        """Join masks of one image size.

        Raises:
            ValueError: none given, or the sizes differ.
        """
        if not masks_list:
            raise ValueError("RLEMasks.cat needs at least one RLEMasks.")
        return RLEMasks([rle for masks in masks_list for rle in masks.rles], masks_list[0].image_size)

    def to(self, *args: Any, **kwargs: Any) -> RLEMasks:
        """Return self: run lengths stay on the CPU."""
        return self

    @property
    def device(self) -> torch.device:
        """The CPU, always."""
        return torch.device("cpu")

    def to_tensor(self) -> torch.Tensor:
        """Decode all masks at full size, bool (N, H, W)."""
        if not self.rles:
            return torch.zeros((0, *self.image_size), dtype=torch.bool)
        return torch.from_numpy(np.stack([mask_util.decode(rle) for rle in self.rles])).to(torch.bool)

    def area(self) -> torch.Tensor:
        """Count the pixels of each mask, int64 (N,)."""
        areas = mask_util.area(self.rles) if self.rles else []
        return torch.as_tensor(np.asarray(areas, dtype=np.int64))

    def nonempty(self) -> torch.Tensor:
        """Tell, as bool (N,), which masks have a pixel."""
        return self.area() > 0

    def get_bounding_boxes(self) -> Boxes:
        """Return tight boxes; a mask of one pixel has width 1, an empty one all zeros."""
        if not self.rles:
            return Boxes(torch.zeros(0, 4))
        boxes = torch.from_numpy(np.asarray(mask_util.toBbox(self.rles), dtype=np.float32))
        boxes[:, 2:] += boxes[:, :2]
        return Boxes(torch.where(self.nonempty()[:, None], boxes, torch.zeros(())))

    def __getitem__(self, item: int | slice | list[int] | np.ndarray | torch.Tensor) -> RLEMasks:
        """Select masks by int (kept as one mask), slice, list, or a bool or integer vector."""
        if isinstance(item, (int, np.integer)):
            return RLEMasks([self.rles[int(item)]], self.image_size)
        if isinstance(item, slice):
            return RLEMasks(self.rles[item], self.image_size)
        return RLEMasks([self.rles[i] for i in index_list(item)], self.image_size)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """Yield each mask's run-length dict."""
        return iter(self.rles)

    def __len__(self) -> int:
        return len(self.rles)

    def __repr__(self) -> str:
        return f"RLEMasks(num_instances={len(self)}, image_size={self.image_size})"
