"""Samplers: which image comes when."""

from __future__ import annotations

from cardamage.data.samplers.background_sampler import BackgroundSampler
from cardamage.data.samplers.class_aware_sampler import ClassAwareSampler
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
    "BackgroundSampler",
    "ClassAwareSampler",
    "GroupedBatchSampler",
    "InferenceSampler",
    "PositionedBatchSampler",
    "RandomSubsetTrainingSampler",
    "RepeatFactorTrainingSampler",
    "SamplePosition",
    "TrainingSampler",
]
