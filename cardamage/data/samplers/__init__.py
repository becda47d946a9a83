"""Samplers: which image comes when."""

from __future__ import annotations

from cardamage.data.samplers.distributed_sampler import (
    InferenceSampler,
    RandomSubsetTrainingSampler,
    RepeatFactorTrainingSampler,
    TrainingSampler,
)
from cardamage.data.samplers.grouped_batch_sampler import (
    GroupedBatchSampler,
    PositionedBatchSampler,
    SamplePosition,
)

__all__ = [
    "GroupedBatchSampler",
    "InferenceSampler",
    "PositionedBatchSampler",
    "RandomSubsetTrainingSampler",
    "RepeatFactorTrainingSampler",
    "SamplePosition",
    "TrainingSampler",
]
