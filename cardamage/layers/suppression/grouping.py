"""From a list of boxes to padded groups, and back."""

from __future__ import annotations

from dataclasses import dataclass

import torch

__all__ = ["Groups", "arrange"]


@dataclass(frozen=True, eq=False)
class Groups:
    """Where the entries of a list stand in G rows of K places, each row a group.

    Attributes:
        order: (N,) int64, the list's positions, group after group.
        row: (N,) int64, the row of each of these.
        column: (N,) int64, the place in the row of each of these.
        shape: G and K, the size of the largest group, at least 1.
    """

    order: torch.Tensor
    row: torch.Tensor
    column: torch.Tensor
    shape: tuple[int, int]

    def pad(self, values: torch.Tensor) -> torch.Tensor:
        """Lay (N, ...) values out as (G, K, ...), zero in places that nothing stands in."""
        padded = values.new_zeros(*self.shape, *values.shape[1:])
        padded[self.row, self.column] = values[self.order]
        return padded

    def used(self) -> torch.Tensor:
        """Return which of the (G, K) places something stands in."""
        return self.pad(torch.ones_like(self.order, dtype=torch.bool))

    def unpad(self, padded: torch.Tensor) -> torch.Tensor:
        """Bring (G, K, ...) back to (N, ...)."""
        values = padded.new_empty(len(self.order), *padded.shape[2:])
        values[self.order] = padded[self.row, self.column]
        return values


def arrange(scores: torch.Tensor, idxs: torch.Tensor) -> Groups:
    """Put a list's entries in groups, each by falling score. The host waits for the device.

    Args:
        scores: (N,); of equal ones the first comes first.
        idxs: (N,) integers, the group of each entry.
    """
    falling = scores.argsort(descending=True, stable=True)
    order = falling[idxs[falling].argsort(stable=True)]
    counts = idxs[order].unique_consecutive(return_counts=True)[1]
    rows = torch.arange(len(counts), device=scores.device)
    row = rows.repeat_interleave(counts, output_size=len(order))
    column = torch.arange(len(order), device=scores.device) - (counts.cumsum(0) - counts)[row]
    longest = int(counts.max()) if len(counts) else 1
    return Groups(order, row, column, (len(counts), longest))
