"""What follows from several datasets' metadata."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from cardamage.catalog import MetadataCatalog
from cardamage.data.detection_utils import create_keypoint_hflip_indices, get_fed_loss_cls_weights
from cardamage.errors import DataError


@pytest.fixture
def names() -> Iterator[list[str]]:
    names = ["consistency_a", "consistency_b"]
    yield names
    for name in names:
        MetadataCatalog.pop(name, None)


def test_flip_indices_follow_the_pairs(names: list[str]) -> None:
    for name in names:
        MetadataCatalog.get(name).set(
            keypoint_names=["nose", "left_eye", "right_eye", "right_ear", "left_ear"],
            keypoint_flip_map=[("left_eye", "right_eye"), ("left_ear", "right_ear")],
        )
    assert create_keypoint_hflip_indices(names) == create_keypoint_hflip_indices(names[0]) == [0, 2, 1, 4, 3]


def test_class_weights_are_powers_of_the_image_counts(names: list[str]) -> None:
    counts = [{"id": 3, "image_count": 16}, {"id": 1, "image_count": 1}, {"id": 2, "image_count": 4}]
    MetadataCatalog.get(names[0]).class_image_count = counts
    assert torch.equal(get_fed_loss_cls_weights(names[0]), torch.tensor([1.0, 4.0, 16.0]))
    assert torch.equal(get_fed_loss_cls_weights(names[:1], 0.5), torch.tensor([1.0, 2.0, 4.0]))
    MetadataCatalog.get(names[1]).class_image_count = counts[:2]
    with pytest.raises(DataError, match="differ in their class_image_count"):
        get_fed_loss_cls_weights(names)
