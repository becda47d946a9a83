"""One batch in memory, in every side's own form."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from cardamage.benchmark.settings import Settings
from cardamage.data import DatasetMapper

__all__ = ["make_samples", "to_torchvision"]

Sample = dict[str, Any]


def make_samples(settings: Settings, count: int) -> list[Sample]:
    """Map photos to samples of the training, unflipped; they are repeated where there are too few.

    Args:
        settings: the photos and the config.
        count: how many.
    """
    cfg = settings.config(("INPUT.RANDOM_FLIP", "none"))
    mapper = DatasetMapper(cfg, True)
    records = settings.files.records
    distinct = [mapper(record) for record in records[:count]]
    return [dict(distinct[index % len(distinct)]) for index in range(count)]


def to_torchvision(samples: Sequence[Sample]) -> tuple[list[torch.Tensor], list[Sample]]:
    """Return images as (3, H, W) float32 from 0 to 1, and targets with masks of the images' size."""
    images = [sample["image"].float().div(255) for sample in samples]
    return images, [_target(sample["instances"]) for sample in samples]


def _target(instances: Any) -> Sample:
    height, width = instances.image_size
    from cardamage.structures import BitMasks, PolygonMasks

    masks = instances.gt_masks
    if isinstance(masks, PolygonMasks):
        masks = BitMasks.from_polygon_masks(masks, height, width)
    return {
        "boxes": instances.gt_boxes.tensor.clone(),
        # 0 is the background there.
        "labels": instances.gt_classes + 1,
        "masks": masks.tensor.to(torch.uint8),
    }
