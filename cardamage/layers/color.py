"""Brightness, contrast, saturation and hue of whole padded batches, each picture by a factor of its own.

Equal to the functions of the same names in :mod:`torchvision.transforms.v2.functional` on floating-point
pictures, but without a loop over the pictures and without waiting for the device.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from cardamage.utils.compiling import region

__all__ = ["ColorJitter", "adjust_brightness", "adjust_contrast", "adjust_hue", "adjust_saturation"]

# ITU-R BT.601, R G B, in torchvision's digits.
_LUMA = (0.2989, 0.587, 0.114)


def adjust_brightness(images: torch.Tensor, factors: torch.Tensor) -> torch.Tensor:
    """Multiply.

    Args:
        images: (N, 3, H, W) float in [0, 255].
        factors: (N,); 1 leaves a picture as it is.

    Returns:
        Like ``images``.
    """
    return (images * factors[:, None, None, None]).clamp(0, 255)


def adjust_contrast(
    images: torch.Tensor, factors: torch.Tensor, inside: torch.Tensor | None = None
) -> torch.Tensor:
    """Move every value away from the picture's mean gray, or towards it.

    Args:
        images: (N, 3, H, W) float in [0, 255], R, G, B.
        factors: (N,); 1 leaves a picture as it is, 0 gives one gray.
        inside: (N, 1, H, W) bool, False for padding, which the mean leaves out; None where there is none.

    Returns:
        Like ``images``.
    """
    gray = _gray(images)
    if inside is None:
        mean = gray.mean(dim=(2, 3), keepdim=True)
    else:
        mean = (gray * inside).sum(dim=(2, 3), keepdim=True) / inside.sum(dim=(2, 3), keepdim=True)
    return _blend(images, mean, factors)


def adjust_saturation(images: torch.Tensor, factors: torch.Tensor) -> torch.Tensor:
    """Move every value away from its pixel's gray, or towards it.

    Args:
        images: (N, 3, H, W) float in [0, 255], R, G, B.
        factors: (N,); 1 leaves a picture as it is, 0 makes it gray.

    Returns:
        Like ``images``.
    """
    return _blend(images, _gray(images), factors)


def adjust_hue(images: torch.Tensor, shifts: torch.Tensor) -> torch.Tensor:
    """Turn every pixel's hue (Smith 1978), keeping the greatest and the least of its three values.

    Args:
        images: (N, 3, H, W) float in [0, 255], R, G, B.
        shifts: (N,) turns, in [-0.5, 0.5].

    Returns:
        Like ``images``.
    """
    red, green, blue = images.unbind(dim=1)
    greatest, least = images.amax(dim=1), images.amin(dim=1)
    spread = greatest - least
    safe = torch.where(spread == 0, torch.ones_like(spread), spread)
    others = torch.where(greatest == green, 2 + (blue - red) / safe, 4 + (red - green) / safe)
    # In sixths of a turn from red.
    hue = torch.where(greatest == red, (green - blue) / safe, others) + 6 * shifts[:, None, None]
    turned = []
    for offset in (5.0, 3.0, 1.0):
        place = torch.remainder(hue + offset, 6)
        turned.append(greatest - spread * torch.minimum(place, 4 - place).clamp(0, 1))
    return torch.stack(turned, dim=1)


def _gray(images: torch.Tensor) -> torch.Tensor:
    red, green, blue = images.split(1, dim=1)
    return red * _LUMA[0] + green * _LUMA[1] + blue * _LUMA[2]


def _blend(images: torch.Tensor, other: torch.Tensor, factors: torch.Tensor) -> torch.Tensor:
    weight = factors[:, None, None, None]
    return (images * weight + other * (1 - weight)).clamp(0, 255)


@dataclass(frozen=True)
class ColorJitter:
    """Changes the colors of a batch at random: brightness, contrast, saturation, hue, in this order.

    Draws from the global generator of the batch's device, one set of factors a picture.

    Attributes:
        probability: the share of the pictures that are changed.
        brightness: least and greatest factor.
        contrast: least and greatest factor.
        saturation: least and greatest factor.
        hue: least and greatest turn.
        reverse: whether the channels come as B, G, R.
    """

    probability: float
    brightness: Sequence[float] = (1.0, 1.0)
    contrast: Sequence[float] = (1.0, 1.0)
    saturation: Sequence[float] = (1.0, 1.0)
    hue: Sequence[float] = (0.0, 0.0)
    reverse: bool = False

    def draw(self, count: int, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
        """Draw which pictures are changed, (N,) bool, and their factors, (4, N) in the order of the steps."""
        numbers = torch.rand(5, count, device=device)
        ranges = (self.brightness, self.contrast, self.saturation, self.hue)
        factors = [low + (high - low) * row for (low, high), row in zip(ranges, numbers[1:], strict=True)]
        return numbers[0] < self.probability, torch.stack(factors)

    def __call__(self, images: torch.Tensor, sizes: torch.Tensor | None = None) -> torch.Tensor:
        """Change the colors of a batch.

        Args:
            images: (N, 3, H, W) uint8 or float in [0, 255].
            sizes: (N, 2) height and width of each picture within the batch, whose padding stays as it is;
                None where all fill it.

        Returns:
            Float of the same shape; pictures that weren't drawn have exactly their values.
        """
        ranges = (self.brightness, self.contrast, self.saturation)
        steps = (*(tuple(one) != (1, 1) for one in ranges), tuple(self.hue) != (0, 0))
        changed, factors = self.draw(len(images), images.device)
        return _change(images.float(), changed, factors, sizes, steps, self.reverse)


@region
def _change(
    images: torch.Tensor,
    changed: torch.Tensor,
    factors: torch.Tensor,
    sizes: torch.Tensor | None,
    steps: Sequence[bool],
    reverse: bool,
) -> torch.Tensor:
    """Take the steps that do something with the drawn pictures, within their sizes."""
    inside = None if sizes is None else _inside(sizes, images)
    result = images.flip(1) if reverse else images
    if steps[0]:
        result = adjust_brightness(result, factors[0])
    if steps[1]:
        result = adjust_contrast(result, factors[1], inside)
    if steps[2]:
        result = adjust_saturation(result, factors[2])
    if steps[3]:
        result = adjust_hue(result, factors[3])
    keep = changed[:, None, None, None]
    return torch.where(
        keep if inside is None else keep & inside, result.flip(1) if reverse else result, images
    )


def _inside(sizes: torch.Tensor, images: torch.Tensor) -> torch.Tensor:
    """Return (N, 1, H, W) bool, where the pictures are."""
    height, width = images.shape[-2:]
    rows = torch.arange(height, device=images.device) < sizes[:, :1]
    columns = torch.arange(width, device=images.device) < sizes[:, 1:]
    return (rows[:, :, None] & columns[:, None, :])[:, None]
