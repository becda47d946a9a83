"""Random samples of foreground and background, of a size known in advance."""

from __future__ import annotations

import torch

from .batch import fixed_shapes

__all__ = ["sample_batch", "subsample_labels"]


def sample_batch(
    labels: torch.Tensor,
    num_samples: int,
    positive_fraction: float,
    bg_label: int,
    hardness: torch.Tensor | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Sample every row of a padded batch: up to a share of positives, then negatives in what is left.

    Positives are drawn at random, and negatives too, unless it is told how hard they are.

    On an accelerator no count is read back from the device. On the CPU, where that is free, the random
    numbers are drawn row by row as Detectron2 draws them, so that a seed gives the same samples.

    Args:
        labels: (N, P) integers: -1 to ignore, ``bg_label`` for background, else foreground.
        num_samples: how many to take of a row, at most.
        positive_fraction: the largest share of foreground.
        bg_label: the label of background.
        hardness: (N, P), to take the negatives of the highest values, of equal ones the first.

    Returns:
        (N, K) int64 indices into P with K = min(P, num_samples), foreground first, and (N, K) bool:
        False for the places nothing was left to fill, which come last.
    """
    draw = _draw_keys if fixed_shapes(labels.device) else _draw_rows
    order = None if hardness is None else hardness.argsort(dim=1, descending=True, stable=True)
    capacity = min(labels.shape[1], num_samples)
    return draw(labels, capacity, int(num_samples * positive_fraction), bg_label, order)


def _draw_keys(
    labels: torch.Tensor, capacity: int, max_positives: int, bg_label: int, order: torch.Tensor | None
) -> tuple[torch.Tensor, torch.Tensor]:
    """Let every candidate draw a random key, and the highest win: without reading anything."""
    negative = labels == bg_label
    positive = (labels != -1) & ~negative
    draw = torch.rand(labels.shape, device=labels.device)
    # Keys: a negative in [0, 1), a chosen positive in [2, 3), everything else -1.
    preferred = draw if order is None else _falling_keys(order)
    key = torch.where(negative, preferred, torch.full_like(draw, -1.0))
    candidates = torch.where(positive, draw, -torch.ones_like(draw))
    drawn, chosen = candidates.topk(min(labels.shape[1], max_positives), dim=1)
    key.scatter_(1, chosen, torch.where(drawn >= 0, drawn + 2.0, key.gather(1, chosen)))
    winners, index = key.topk(capacity, dim=1)
    return index, winners >= 0


def _falling_keys(order: torch.Tensor) -> torch.Tensor:
    """Return (N, P) keys in [0, 1) that fall along (N, P) indices."""
    places = torch.arange(order.shape[1], 0, -1, device=order.device, dtype=torch.float32) - 1
    return torch.empty_like(order, dtype=torch.float32).scatter_(
        1, order, (places / max(order.shape[1], 1)).expand_as(order)
    )


def _draw_rows(
    labels: torch.Tensor, capacity: int, max_positives: int, bg_label: int, order: torch.Tensor | None
) -> tuple[torch.Tensor, torch.Tensor]:
    """Sample row by row, positives before negatives."""
    index = torch.zeros((len(labels), capacity), dtype=torch.int64, device=labels.device)
    valid = torch.zeros_like(index, dtype=torch.bool)
    for i, row in enumerate(labels):
        harder_first = None if order is None else order[i]
        chosen = torch.cat(_choose(row, capacity, max_positives, bg_label, harder_first))
        index[i, : len(chosen)] = chosen
        valid[i, : len(chosen)] = True
    return index, valid


def _choose(
    labels: torch.Tensor,
    num_samples: int,
    max_positives: int,
    bg_label: int,
    order: torch.Tensor | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    positive = ((labels != -1) & (labels != bg_label)).nonzero()[:, 0]
    negative = (labels == bg_label).nonzero()[:, 0]
    num_positive = min(len(positive), max_positives)
    # One after the other, both in full: so a seed gives the samples it gives in Detectron2.
    first = torch.randperm(len(positive), device=labels.device)[:num_positive]
    if order is not None:
        return positive[first], order[labels[order] == bg_label][: num_samples - num_positive]
    second = torch.randperm(len(negative), device=labels.device)[: num_samples - num_positive]
    return positive[first], negative[second]


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
        The int64 indices of the sampled positives and of the sampled negatives.
    """
    return _choose(labels, num_samples, int(num_samples * positive_fraction), bg_label)
