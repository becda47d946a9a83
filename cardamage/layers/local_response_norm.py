"""Local response normalization (Krizhevsky et al., ImageNet Classification, NeurIPS 2012, section 3.3)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

__all__ = ["LocalResponseNorm"]


class LocalResponseNorm(nn.Module):
    """Divide each response by a power of the mean square of its neighbours', channels at the same place.

    Where a light is reflected many channels respond strongly, and hold each other down. The numbers are
    those of ``torch.nn.LocalResponseNorm``; here they are sums of shifted maps, which suits any memory layout
    and compiles, and in float32 even in half precision, as squares leave float16's range.
    """

    def __init__(self, size: int = 5, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0) -> None:
        """Set the constants of ``y = x / (k + alpha * mean(x²))^beta``.

        Args:
            size: channels that the mean is over: the response's own, ``size // 2`` before it and
                ``(size - 1) // 2`` after it, zero where there are none.
            alpha: the factor of the mean.
            beta: the power.
            k: what is added, above 0.
        """
        super().__init__()
        self.size, self.alpha, self.beta, self.k = size, alpha, beta, k

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map (N, C, H, W) to the same shape and dtype."""
        exact = x if x.dtype == torch.float64 else x.float()
        padded = F.pad(exact.square(), (0, 0, 0, 0, self.size // 2, (self.size - 1) // 2))
        channels = x.shape[1]
        total = padded[:, :channels]
        for shift in range(1, self.size):
            total = total + padded[:, shift : shift + channels]
        return (exact / (self.k + self.alpha / self.size * total) ** self.beta).to(x.dtype)

    def extra_repr(self) -> str:
        """Describe the layer in one line."""
        return f"size={self.size}, alpha={self.alpha}, beta={self.beta}, k={self.k}"
