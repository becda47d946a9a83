"""The training sampler that a config names."""

from __future__ import annotations

import logging
from typing import Any

from cardamage.config import CfgNode
from cardamage.data.samplers.background_sampler import BackgroundSampler
from cardamage.data.samplers.class_aware_sampler import ClassAwareSampler
from cardamage.data.samplers.distributed_sampler import RepeatFactorTrainingSampler, TrainingSampler
from cardamage.data.samplers.endless_sampler import EndlessSampler
from cardamage.errors import ConfigValueError

__all__ = ["choose_sampler"]

logger = logging.getLogger(__name__)


def choose_sampler(cfg: CfgNode, dataset: Any, seed: int, background: int = 0) -> EndlessSampler:
    """Make the sampler of DATALOADER.SAMPLER_TRAIN, with pictures without objects where they are asked for.

    Args:
        cfg: DATALOADER is read.
        dataset: dataset dicts, or for TrainingSampler anything that has a length.
        seed: the same on all ranks.
        background: how many of the dataset, the last ones, are drawn by DATALOADER.BACKGROUND_RATIO.

    Returns:
        The sampler.

    Raises:
        ConfigValueError: If the name is unknown.
    """
    logger.info("Training sampler: %s", cfg.DATALOADER.SAMPLER_TRAIN)
    count = len(dataset) - background
    sampler = _named(cfg, dataset[:count] if background else dataset, seed)
    if not background:
        return sampler
    return BackgroundSampler(sampler, range(count, len(dataset)), cfg.DATALOADER.BACKGROUND_RATIO)


def _named(cfg: CfgNode, dataset: Any, seed: int) -> EndlessSampler:
    name = cfg.DATALOADER.SAMPLER_TRAIN
    if name == "TrainingSampler":
        return TrainingSampler(len(dataset), seed=seed)
    if name == "RepeatFactorTrainingSampler":
        factors = RepeatFactorTrainingSampler.repeat_factors_from_category_frequency(
            dataset, cfg.DATALOADER.REPEAT_THRESHOLD, sqrt=cfg.DATALOADER.REPEAT_SQRT
        )
        return RepeatFactorTrainingSampler(factors, seed=seed)
    if name == "ClassAwareSampler":
        return ClassAwareSampler(ClassAwareSampler.classes_of(dataset), seed=seed)
    raise ConfigValueError(
        "DATALOADER.SAMPLER_TRAIN must be 'TrainingSampler', 'RepeatFactorTrainingSampler' or "
        f"'ClassAwareSampler'; got {name!r}. Pass other samplers to build_detection_train_loader as sampler=."
    )
