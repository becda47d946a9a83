"""Images of different sizes, padded into one batch."""

from __future__ import annotations

from typing import Any

import torch
from torch import device


class ImageList:
    """A padded batch that remembers each image's own size.

    TorchScript can compile it; the types of its methods are those TorchScript knows.

    Attributes:
        tensor: (N, ..., H, W), usually (N, 3, H, W).
        image_sizes: each image's (height, width) before padding.
    """

    def __init__(self, tensor: torch.Tensor, image_sizes: list[tuple[int, int]]) -> None:
        """Take a padded batch and the sizes inside it; the top left corners coincide."""
        self.tensor = tensor
        self.image_sizes = image_sizes

    def __len__(self) -> int:
        return len(self.image_sizes)

    def __getitem__(self, idx: int) -> torch.Tensor:
        """Return one image without its padding, a view of shape (..., h, w)."""
        height, width = self.image_sizes[idx]
        return self.tensor[idx, ..., :height, :width]

    @torch.jit.unused
    def to(self, *args: Any, **kwargs: Any) -> ImageList:
        """Move or cast the tensor."""
        return ImageList(self.tensor.to(*args, **kwargs), self.image_sizes)

    @property
    def device(self) -> device:
        """The device of the tensor."""
        return self.tensor.device

    @staticmethod
    def from_tensors(
        tensors: list[torch.Tensor],
        size_divisibility: int = 0,
        pad_value: float = 0.0,
        padding_constraints: dict[str, int] | None = None,
    ) -> ImageList:
        """Pad images at the right and bottom to one size and stack them.

        Args:
            tensors: one or more tensors (..., Hi, Wi) that agree in all but the last two dimensions.
            size_divisibility: make both sides multiples of this, where above 1.
            pad_value: what the padding holds.
            padding_constraints: ``size_divisibility`` here overrides the argument; ``square_size``
                above 0 pads to a square of that side.

        Returns:
            The batch, contiguous, on the images' device and of their dtype.

        Raises:
            ValueError: no images, their leading dimensions differ, or one does not fit ``square_size``.
        """
        if len(tensors) == 0:
            raise ValueError("ImageList.from_tensors needs at least one image.")
        lead = list(tensors[0].shape[:-2])
        for tensor in tensors:
            if list(tensor.shape[:-2]) != lead:
                shapes = [list(tensor.shape) for tensor in tensors]
                raise ValueError(f"Images must agree in all but height and width, got shapes {shapes}.")
        sizes = [(int(tensor.shape[-2]), int(tensor.shape[-1])) for tensor in tensors]
        height, width = padded_size(sizes, size_divisibility, padding_constraints)
        batch = tensors[0].new_full([len(tensors)] + lead + [height, width], pad_value)
        for i, tensor in enumerate(tensors):
            batch[i, ..., : tensor.shape[-2], : tensor.shape[-1]].copy_(tensor)
        return ImageList(batch, sizes)


def padded_size(
    sizes: list[tuple[int, int]],
    size_divisibility: int = 0,
    padding_constraints: dict[str, int] | None = None,
) -> tuple[int, int]:
    """Return the (height, width) a batch of images of the given (height, width) is padded to.

    Raises:
        ValueError: an image is larger than the asked square.
    """
    constraints = {"size_divisibility": size_divisibility}
    if padding_constraints is not None:
        constraints.update(padding_constraints)
    height, width = max([size[0] for size in sizes]), max([size[1] for size in sizes])
    square = constraints.get("square_size", 0)
    if square > 0:
        if max(height, width) > square:
            raise ValueError(f"An image of {height}x{width} does not fit into the square_size {square}.")
        height = width = square
    step = max(constraints["size_divisibility"], 1)
    return -(-height // step) * step, -(-width // step) * step
