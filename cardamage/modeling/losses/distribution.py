"""How wrong distributions over bins are."""

from __future__ import annotations

import torch
import torch.nn.functional as F

__all__ = ["distribution_focal"]


def distribution_focal(scores: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
    """Return the distribution focal loss (Li et al., https://arxiv.org/abs/2006.04388).

    It is least where the two bins around the truth have all of the probability, the nearer one more.

    Args:
        scores: (..., n) of n bins, at least 2.
        places: (...) the truth, 0 to n - 1, with fractions.

    Returns:
        (...) losses.
    """
    logs = F.log_softmax(scores, dim=-1)
    low = places.floor().clamp(max=scores.shape[-1] - 2)
    beyond = (places - low).to(scores.dtype)
    index = low.long().unsqueeze(-1)
    below, above = logs.gather(-1, index)[..., 0], logs.gather(-1, index + 1)[..., 0]
    return -(1 - beyond) * below - beyond * above
