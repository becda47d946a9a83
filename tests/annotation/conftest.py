"""A stand-in for a model that finds what can be checked by eye: red and green regions of a picture."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from cardamage.structures import Boxes, Instances
from cardamage.structures.rle_masks import RLEMasks

Finder = Callable[[list[np.ndarray]], list[dict[str, Any]]]


def find_colours(pictures: list[np.ndarray]) -> list[dict[str, Any]]:
    """An object of class 0 and score 0.9 where a picture is red, one of 1 and 0.6 where it is green."""
    outputs = []
    for picture in pictures:
        blue, green, red = (picture[:, :, channel].astype(int) for channel in range(3))
        masks = torch.from_numpy(np.stack([red - green - blue > 100, green - red - blue > 100]))
        there = masks.flatten(1).any(dim=1)
        found = Instances(picture.shape[:2])
        rles = RLEMasks.from_tensor(masks[there])
        found.pred_boxes = rles.get_bounding_boxes() if len(rles) else Boxes(torch.zeros(0, 4))
        found.scores = torch.tensor([0.9, 0.6])[there]
        found.pred_classes = torch.tensor([0, 1])[there]
        found.pred_masks = rles
        outputs.append({"instances": found})
    return outputs


@pytest.fixture
def finder() -> Finder:
    return find_colours
