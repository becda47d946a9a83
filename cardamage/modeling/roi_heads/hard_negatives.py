"""How hard each proposal is, for the sampling of those that fool the box head most.

Online hard example mining (Shrivastava et al., CVPR 2016, https://arxiv.org/abs/1604.03540) looks at all
proposals before it learns from some. Here the foreground is drawn at random as ever, and the background is
that of the highest loss: the proposals without object that look most like one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from cardamage.errors import ConfigValueError
from cardamage.structures import Instances

from ..batch import ProposalBatch
from ..custom import regions_stay_apart, takes_batches
from .detection import predicted_probs

__all__ = ["with_hardness"]


@torch.no_grad()
def with_hardness(
    heads: Any,
    proposals: Sequence[Instances],
    parts: Sequence[nn.Module],
    predictor: Any,
    predict: Callable[[ProposalBatch], Any],
) -> ProposalBatch:
    """Compute what the box head takes all proposals for, without gradient and without learning statistics.

    Args:
        heads: who samples.
        proposals: of N images.
        parts: what computes the predictions.
        predictor: a :class:`~.fast_rcnn.FastRCNNOutputLayers`, or of its interface.
        predict: the predictions of a batch's rows.

    Returns:
        The proposals with ``hardness``: the probability of any object, with which the background's
        loss rises.

    Raises:
        ConfigValueError: heads that sample on their own.
    """
    if not (takes_batches(heads.label_and_sample_proposals) and takes_batches(heads._sample_proposals)):
        raise ConfigValueError(
            f"MODEL.ROI_HEADS.SAMPLER is 'hard_negative', but {type(heads).__name__} samples its proposals "
            "itself: set it to 'random'."
        )
    batch = ProposalBatch.of(proposals)
    with _without_statistics(parts), _own_copies(batch.boxes.device.type):
        scored = batch if regions_stay_apart(parts) else batch.exact()
        probs = predicted_probs(predictor, predict(scored), scored)
    # Summed, not what background lacks of 1: of that, float32 keeps nothing where it is small.
    return replace(batch, hardness=scored.spread(probs[:, :-1].sum(dim=1)))


@contextmanager
def _without_statistics(parts: Sequence[nn.Module]) -> Iterator[None]:
    """Have batch norms use their running statistics, which the same regions would else enter twice."""
    learning = [m for part in parts for m in part.modules() if isinstance(m, _BatchNorm) and m.training]
    for norm in learning:
        norm.eval()
    try:
        yield
    finally:
        for norm in learning:
            norm.train()


def _own_copies(device_type: str) -> AbstractContextManager[Any]:
    """Have autocast forget its copies of the weights: made here, they would have no gradient later."""
    if not torch.is_autocast_enabled(device_type):
        return nullcontext()
    return torch.autocast(device_type, dtype=torch.get_autocast_dtype(device_type), cache_enabled=False)
