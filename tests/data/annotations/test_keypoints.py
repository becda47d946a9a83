"""Keypoints through transforms, worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from cardamage.data import transforms as T
from cardamage.data.detection_utils import transform_instance_annotations, transform_keypoint_annotations
from cardamage.errors import DataError
from cardamage.structures import BoxMode

POINTS = [10, 20, 2, 30, 5, 1, 40, 50, 0]


def test_a_flip_changes_left_and_right() -> None:
    found = transform_keypoint_annotations(
        POINTS, T.TransformList([T.HFlipTransform(100)]), (60, 100), [1, 0, 2]
    )
    assert found.tolist() == [[70, 5, 1], [90, 20, 2], [0, 0, 0]]
    twice = T.TransformList([T.HFlipTransform(100), T.HFlipTransform(100)])
    found = transform_keypoint_annotations(POINTS, twice, (60, 100))
    assert found.tolist() == [[10, 20, 2], [30, 5, 1], [0, 0, 0]]


def test_points_outside_are_unlabelled() -> None:
    found = transform_keypoint_annotations(POINTS, T.CropTransform(20, 0, 15, 10), (10, 15))
    assert found.tolist() == [[0, 0, 0], [10, 5, 1], [0, 0, 0]]


@pytest.mark.parametrize("indices", [None, [0, 1]])
def test_a_flip_needs_to_know_the_pairs(indices: list[int] | None) -> None:
    with pytest.raises(DataError, match="Mirroring 3 keypoints needs 3 keypoint_hflip_indices"):
        transform_keypoint_annotations(POINTS, T.HFlipTransform(100), (60, 100), indices)


def test_they_move_with_their_instance_and_the_input_stays() -> None:
    given = np.array(POINTS, dtype=float).reshape(3, 3)
    note = {"bbox": [0, 0, 10, 10], "bbox_mode": BoxMode.XYXY_ABS, "keypoints": given}
    out = transform_instance_annotations(note, [T.ResizeTransform(60, 100, 30, 300)], (30, 300))
    assert out["keypoints"].tolist() == [[30, 10, 2], [90, 2.5, 1], [0, 0, 0]]
    assert given.reshape(-1).tolist() == POINTS
