"""From pictures to a normalized batch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn

from cardamage.layers.color import ColorJitter
from cardamage.structures import ImageList
from cardamage.utils.compiling import Compiler, compiling, region

from ..backbone import Backbone

__all__ = ["ImageModel"]


@region
def _normalize(
    batch: torch.Tensor,
    mean: torch.Tensor,
    std: torch.Tensor,
    sizes: torch.Tensor | None,
    channels_last: bool,
) -> torch.Tensor:
    """Subtract, divide, and put 0 outside of the (N, 2) sizes where some are smaller than the batch."""
    batch = (batch - mean) / std
    if sizes is not None:
        height, width = batch.shape[-2:]
        inside_y = torch.arange(height, device=batch.device) < sizes[:, :1]
        inside_x = torch.arange(width, device=batch.device) < sizes[:, 1:]
        batch = batch * (inside_y[:, None, :, None] & inside_x[:, None, None, :])
    return batch.contiguous(memory_format=torch.channels_last) if channels_last else batch


class ImageModel(nn.Module):
    """The part of a model that knows how its images are normalized and padded.

    Attributes:
        train_compiler: compiles parts of the model in training; None, as it is made, for plain torch.
        test_compiler: the same for inference.
        color_jitter: changes the colors of the pictures that gradients are computed for; None for no change.
    """

    pixel_mean: torch.Tensor
    pixel_std: torch.Tensor
    train_compiler: Compiler | None = None
    test_compiler: Compiler | None = None
    color_jitter: ColorJitter | None = None

    def __init__(
        self,
        backbone: Backbone,
        pixel_mean: Sequence[float],
        pixel_std: Sequence[float],
        channels_last: bool = False,
    ) -> None:
        """Set the normalization.

        Args:
            backbone: the network whose padding rules hold.
            pixel_mean: what is subtracted, per channel.
            pixel_std: what is divided by, per channel.
            channels_last: lay the batch out channels last.
        """
        super().__init__()
        self.backbone = backbone
        self.channels_last = channels_last
        self.register_buffer("pixel_mean", torch.tensor(pixel_mean).view(-1, 1, 1), persistent=False)
        self.register_buffer("pixel_std", torch.tensor(pixel_std).view(-1, 1, 1), persistent=False)
        if self.pixel_mean.shape != self.pixel_std.shape:
            raise ValueError(
                f"MODEL.PIXEL_MEAN has {len(pixel_mean)} values and MODEL.PIXEL_STD {len(pixel_std)}; "
                "give one for each channel in both"
            )

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return self.pixel_mean.device

    def _move_to_current_device(self, x: torch.Tensor) -> torch.Tensor:
        """Return a tensor where the model is; models written for Detectron2 call this."""
        return x.to(self.device, non_blocking=True)

    def preprocess_image(self, batched_inputs: Sequence[Mapping[str, Any]]) -> ImageList:
        """Normalize and pad the pictures; the padding is 0 after normalization.

        Args:
            batched_inputs: dicts with ``image``, (C, Hi, Wi) uint8 or float.

        Returns:
            (N, C, H, W) float32 with the sizes before padding.
        """
        images = ImageList.from_tensors(
            # Padded where the model is: pictures in pinned memory then get there without anybody waiting.
            [self._move_to_current_device(x["image"]) for x in batched_inputs],
            self.backbone.size_divisibility,
            padding_constraints=self.backbone.padding_constraints,
        )
        batch = images.tensor
        padded = tuple(batch.shape[-2:])
        sizes: torch.Tensor | None = None
        if any(size != padded for size in images.image_sizes):
            sizes = self._move_to_current_device(torch.tensor(images.image_sizes))
        if self.color_jitter is not None and self.training and torch.is_grad_enabled():
            batch = self.color_jitter(batch, sizes)
        batch = _normalize(batch, self.pixel_mean, self.pixel_std, sizes, self.channels_last)
        return ImageList(batch, images.image_sizes)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run the model; what is to be compiled in its present mode runs compiled."""
        with compiling(self.train_compiler if self.training else self.test_compiler):
            return super().__call__(*args, **kwargs)
