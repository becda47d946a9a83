"""3x3 convolutions with fewer products (Winograd's F(2x2, 3x3), https://arxiv.org/abs/1509.09308).

Four neighbouring results of a pair of channels take 16 products, not 36: sums and differences of a 4x4 patch
are multiplied with such of the weights, and sums and differences of the products are the results. The
products of all channels are matrix products, so all that is left are additions of whole rows of channels.
Rounding is about that of the direct convolution in float32, and two or three times that in bfloat16.
"""

from __future__ import annotations

import platform

import torch
import torch.nn.functional as F

__all__ = ["WinogradConv2d", "winograd_pays"]

_Pair = tuple[int, ...]

# With fewer channels the additions weigh more than the products they save.
_LEAST_CHANNELS = 192

# Patches worked on at a time; what lies between two steps stays in the cache.
_PATCHES = 1024


def winograd_pays(dtype: torch.dtype) -> bool:
    """Tell whether the additions cost less than the products they save, on this processor."""
    if platform.machine().lower() not in ("x86_64", "amd64") or dtype not in (torch.float32, torch.bfloat16):
        return False
    # With AMX a bfloat16 product costs next to nothing.
    has_amx = getattr(torch.cpu, "_is_amx_tile_supported", bool)()
    return dtype == torch.float32 or not has_amx


class WinogradConv2d:
    """A 3x3 convolution of stride 1 and padding 1 and an optional ReLU, on the CPU; for inference only."""

    def __init__(
        self, weight: torch.Tensor, bias: torch.Tensor | None, relu: bool, dtype: torch.dtype
    ) -> None:
        """Transform the weights, in float64.

        Args:
            weight: (O, I, 3, 3).
            bias: (O,), or None.
            relu: whether the result is cut at zero.
            dtype: what to compute in.
        """
        sums = torch.tensor([[1, 0, 0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0, 0, 1]], dtype=torch.float64)
        patches = torch.einsum("ai,ocij,bj->abco", sums, weight.detach().double(), sums)
        self.weight = patches.flatten(0, 1).to(dtype).contiguous()
        self.bias = None if bias is None else bias.detach().to(dtype)
        self.relu, self.dtype = relu, dtype

    @staticmethod
    def can_replace(
        kernel: _Pair, stride: _Pair, padding: _Pair, dilation: _Pair, groups: int, channels: int
    ) -> bool:
        """Tell whether a convolution is one of these, with channels enough on either side."""
        usual = stride == padding == dilation == (1, 1) and kernel == (3, 3) and groups == 1
        return usual and channels >= _LEAST_CHANNELS

    @staticmethod
    def fits(x: torch.Tensor) -> bool:
        """Tell whether maps (N, I, H, W) divide into patches and are worth the effort."""
        height, width = x.shape[2:]
        return height % 2 == 0 and width % 2 == 0 and height * width >= 64 and len(x) > 0

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """Map (N, I, H, W) that :meth:`fits` to (N, O, H, W), channels last."""
        x = x.to(self.dtype).permute(0, 2, 3, 1)
        images, height, width, _ = x.shape
        output = x.new_empty((images, height, width, self.weight.shape[2]))
        # Some rows of one image, or some whole images.
        rows = 2 * min(max(_PATCHES // (width // 2), 1), height // 2)
        count = max(_PATCHES // (height * width // 4), 1)
        for image in range(0, images, count):
            some, result = x[image : image + count], output[image : image + count]
            for top in range(0, height, rows):
                above, bottom = min(top, 1), min(top + rows, height)
                below = min(height - bottom, 1)
                edges = (0, 0, 1, 1, 1 - above, 1 - below)
                self._patches(F.pad(some[:, top - above : bottom + below], edges), result[:, top:bottom])
        return output.permute(0, 3, 1, 2)

    def _patches(self, x: torch.Tensor, output: torch.Tensor) -> None:
        """Compute (n, h, w, O) results of (n, h + 2, w + 2, I) maps."""
        n, height, width, _ = output.shape
        down, across = height // 2, width // 2
        # Both transforms: along the rows, then along the columns.
        by_row = x.new_empty((4, n, down, width + 2, x.shape[3]))
        _differences([x[:, i : i + height - 1 : 2] for i in range(4)], list(by_row))
        patches = x.new_empty((4, 4, n, down, across, x.shape[3]))
        columns = [by_row[..., i : i + width - 1 : 2, :] for i in range(4)]
        _differences(columns, [patches[:, i] for i in range(4)])
        flat = patches.view(16, -1, x.shape[3])
        products = torch.bmm(flat, self.weight).view(4, 4, n, down, across, -1)
        if self.bias is not None:
            # All four results have this product with a weight of 1.
            products[1, 1] += self.bias
        sums = products.new_empty((2, *products.shape[1:]))
        _sums(list(products), [sums[0], sums[1]])
        # (row in the patch, n, h / 2, w / 2, column in the patch, O)
        results = output.view(n, down, 2, across, 2, -1).permute(2, 0, 1, 3, 4, 5)
        _sums([sums[:, i] for i in range(4)], [results[..., i, :] for i in range(2)])
        if self.relu:
            output.relu_()


def _differences(d: list[torch.Tensor], out: list[torch.Tensor]) -> None:
    torch.sub(d[0], d[2], out=out[0])
    torch.add(d[1], d[2], out=out[1])
    torch.sub(d[2], d[1], out=out[2])
    torch.sub(d[1], d[3], out=out[3])


def _sums(m: list[torch.Tensor], out: list[torch.Tensor]) -> None:
    torch.add(m[0], torch.add(m[1], m[2]), out=out[0])
    torch.sub(torch.sub(m[1], m[2]), m[3], out=out[1])
