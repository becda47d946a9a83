"""Batch normalization over the pictures of all processes, on any device."""

from __future__ import annotations

from typing import Any

import torch
from fvcore.nn.distributed import differentiable_all_reduce
from torch import nn

from cardamage.utils import comm


class NaiveSyncBatchNorm(nn.BatchNorm2d):
    """BatchNorm2d whose statistics in training are the mean of those of all processes.

    Unlike ``torch.nn.SyncBatchNorm`` it also runs on CPUs. Processes count alike whatever the size of their
    pictures, so the statistics are those of all pixels only where the sizes agree.
    """

    def __init__(self, *args: Any, stats_mode: str = "", **kwargs: Any) -> None:
        """Take ``torch.nn.BatchNorm2d``'s arguments and one more.

        Args:
            *args: torch's.
            stats_mode: "" for processes that count alike, "N" for ones that count by their number of
                pictures, which may be 0.
            **kwargs: torch's.

        Raises:
            ValueError: another mode.
        """
        super().__init__(*args, **kwargs)
        if stats_mode not in ("", "N"):
            raise ValueError(f"The stats_mode of NaiveSyncBatchNorm is '' or 'N', not {stats_mode!r}.")
        self._stats_mode = stats_mode

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """Map (N, C, H, W) to the same shape and dtype.

        Raises:
            ValueError: no pictures, in training with ``stats_mode=""`` on several processes.
        """
        if comm.get_world_size() == 1 or not self.training:
            return super().forward(input)
        if len(input) == 0 and self._stats_mode == "":
            raise ValueError("naiveSyncBN can't train on an empty batch: use naiveSyncBN_N as NORM.")
        x = input.to(torch.promote_types(input.dtype, torch.float32))
        mean, square, count = self._gather(x)
        variance = square - mean * mean
        self._track(mean.detach(), variance.detach(), count)
        scale = self.weight * torch.rsqrt(variance + self.eps)
        shift = self.bias - mean * scale
        return (x * scale.view(1, -1, 1, 1) + shift.view(1, -1, 1, 1)).to(input.dtype)

    def _gather(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return the mean over all processes of values and of their squares, (C,), and what they count."""
        count = float(len(x)) if self._stats_mode == "N" else 1.0
        if len(x) > 0:
            sums = torch.cat((x.mean(dim=(0, 2, 3)), (x * x).mean(dim=(0, 2, 3)), x.new_ones(1))) * count
        else:
            # The sum of nothing is 0; with it, the gradients of all processes meet.
            sums = x.new_zeros(2 * self.num_features + 1) + x.sum()
        sums = differentiable_all_reduce(sums)
        total = sums[-1].detach()
        mean, square, _ = (sums / total.clamp(min=1)).split([self.num_features, self.num_features, 1])
        return mean, square, total

    def _track(self, mean: torch.Tensor, variance: torch.Tensor, count: torch.Tensor) -> None:
        if self.running_mean is None or self.running_var is None:
            return
        step = count.clamp(max=1) * (self.momentum or 0.0)
        self.running_mean += step * (mean - self.running_mean)
        self.running_var += step * (variance - self.running_var)
