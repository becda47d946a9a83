"""Masks kept as the small squares that a mask head gives."""

from __future__ import annotations

from typing import Any

import torch

from .bit_masks import BitMasks
from .boxes import Boxes


class ROIMasks:
    """The masks of an image's objects, each as values inside its object's box.

    Attributes:
        tensor: (N, M, M), usually probabilities.
    """

    def __init__(self, tensor: torch.Tensor) -> None:
        """Take an (N, M, M) tensor.

        Raises:
            ValueError: not three-dimensional.
        """
        if tensor.dim() != 3:
            raise ValueError(f"ROIMasks need a tensor of shape (N, M, M), got shape {tuple(tensor.shape)}.")
        self.tensor = tensor

    def to(self, device: torch.device | str) -> ROIMasks:
        """Move to a device."""
        return ROIMasks(self.tensor.to(device))

    @property
    def device(self) -> torch.device:
        """The device of the tensor."""
        return self.tensor.device

    def to_bitmasks(self, boxes: Boxes, height: int, width: int, threshold: float = 0.5) -> BitMasks:
        """Stretch each mask over its box in an image of height x width pixels.

        Args:
            boxes: N boxes, in pixels.
            height: of the image.
            width: of the image.
            threshold: pixels at least this probable are inside.

        Returns:
            N masks on the masks' device; where a GPU's memory is short, on the CPU.

        Raises:
            ValueError: boxes and masks differ in number, or the masks are not square.
        """
        from cardamage.layers.mask_ops import paste_masks_in_image
        from cardamage.utils.memory import retry_if_cuda_oom

        paste = retry_if_cuda_oom(paste_masks_in_image)
        return BitMasks(paste(self.tensor, boxes.tensor, (height, width), threshold=threshold))

    def __getitem__(self, item: Any) -> ROIMasks:
        """Select masks by slice, or a bool or integer vector.

        Raises:
            ValueError: the selection is not (N, M, M).
        """
        selected = self.tensor[item]
        if selected.dim() != 3:
            raise ValueError(f"ROIMasks indexed with {item!r} give shape {tuple(selected.shape)}.")
        return ROIMasks(selected)

    def __len__(self) -> int:
        return self.tensor.shape[0]

    def __repr__(self) -> str:
        return f"ROIMasks(num_instances={len(self)})"
