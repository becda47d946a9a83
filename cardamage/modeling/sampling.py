"""Random samples of foreground and background, of a size known in advance."""

from __future__ import annotations

import torch

__all__ = ["sample_batch", "subsample_labels"]


def sample_batch(
    labels: torch.Tensor, num_samples: int, positive_fraction: float, bg_label: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Sample every row of a padded batch, without reading a count back from the device.

    Every candidate draws a random key, and the highest keys win: first up to
    ``int(num_samples * positive_fraction)`` positives, then negatives in the places that are left.

    Args:
        labels: (N, P) integers: -1 to ignore, ``bg_label`` for background, else foreground.
        num_samples: how many to take of a row, at most.
        positive_fraction: the largest share of foreground.
        bg_label: the label of background.

    Returns:
        (N, K) int64 indices into P with K = min(P, num_samples), foreground first, and (N, K) bool:
        False for the places nothing was left to fill, which come last.
    """
    capacity = min(labels.shape[1], num_samples)
    max_positives = min(labels.shape[1], int(num_samples * positive_fraction))
    negative = labels == bg_label
    positive = (labels != -1) & ~negative
    draw = torch.rand(labels.shape, device=labels.device)
    # Keys: a negative in [0, 1), a chosen positive in [2, 3), everything else -1.
    key = torch.where(negative, draw, torch.full_like(draw, -1.0))
    drawn, chosen = torch.where(positive, draw, -torch.ones_like(draw)).topk(max_positives, dim=1)
    key.scatter_(1, chosen, torch.where(drawn >= 0, drawn + 2.0, key.gather(1, chosen)))
    winners, index = key.topk(capacity, dim=1)
    return index, winners >= 0


def subsample_labels(
    labels: torch.Tensor, num_samples: int, positive_fraction: float, bg_label: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Sample one vector of labels.

    Args:
        labels: (P,) integers: -1 to ignore, ``bg_label`` for background, else foreground.
        num_samples: how many to take, at most.
        positive_fraction: the largest share of foreground.
        bg_label: the label of background.

    Returns:
        The indices of the sampled positives and of the sampled negatives.
    """
    index, valid = sample_batch(labels[None], num_samples, positive_fraction, bg_label)
    index = index[0][valid[0]]
    background = labels[index] == bg_label
    return index[~background], index[background]
