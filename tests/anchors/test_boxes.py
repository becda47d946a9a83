"""Boxes as the training sees them, against the training's own transforms."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from cardamage.anchors import AnnotatedBoxes, read_boxes, resize_boxes, training_sizes
from cardamage.config import get_cfg
from cardamage.data.transforms import ResizeShortestEdge, ResizeTransform
from cardamage.errors import DataError
from cardamage.structures import BoxMode


def test_resized_as_the_training_resizes(fresh_seed: int) -> None:
    rng = np.random.default_rng(fresh_seed)
    pictures = rng.integers(1, 5000, (800, 2))
    corners = np.sort(rng.uniform(0, 1, (800, 2, 2)), axis=1).reshape(-1, 4) * pictures[:, [1, 0, 1, 0]]
    sizes = [(0, 900), (1, 5), (640, 1333), (799, 800), (256, 400), (333, 10**9)]
    for (length, limit), placed in zip(
        sizes, resize_boxes(AnnotatedBoxes(corners, pictures), sizes), strict=True
    ):
        for index, (height, width) in enumerate(pictures.tolist()):
            expected = height, width
            if length:
                expected = ResizeShortestEdge.get_output_shape(height, width, length, limit)
            assert tuple(placed.pictures[index]) == expected
            moved = ResizeTransform(height, width, *expected).apply_box(corners[index : index + 1])[0]
            np.testing.assert_allclose(placed.corners[index], moved, rtol=1e-9, atol=1e-9)


def test_sizes_of_a_config() -> None:
    cfg = get_cfg()
    cfg.merge_from_list(["INPUT.MIN_SIZE_TRAIN", (224, 256), "INPUT.MAX_SIZE_TRAIN", 400])
    assert training_sizes(cfg) == [(224, 400), (256, 400)]
    cfg.merge_from_list(["INPUT.MIN_SIZE_TRAIN_SAMPLING", "range"])
    assert training_sizes(cfg) == [(edge, 400) for edge in range(224, 257, 4)]
    cfg.merge_from_list(["INPUT.MIN_SIZE_TRAIN", (300, 300)])
    assert training_sizes(cfg) == [(300, 400)]


def _record(*boxes: list[float], **extra: Any) -> dict[str, Any]:
    annotations = [{"bbox": box, "bbox_mode": BoxMode.XYXY_ABS, "category_id": 0, **extra} for box in boxes]
    return {"file_name": "car.jpg", "height": 100, "width": 200, "annotations": annotations}


def test_what_is_read() -> None:
    wide = _record([10, 20, 30, 15])
    wide["annotations"][0]["bbox_mode"] = BoxMode.XYWH_ABS
    records = [
        _record([0, 0, 5, 5], iscrowd=1),
        wide,
        _record([-5, 90, 250, 130], [50, 50, 50, 60], [300, 10, 400, 20], [7, 8, 8, 9]),
        {"file_name": "empty.jpg", "height": 10, "width": 10},
    ]
    boxes = read_boxes(records)
    assert boxes.corners.tolist() == [[10, 20, 40, 35], [0, 90, 200, 100], [7, 8, 8, 9]]
    assert boxes.pictures.tolist() == [[100, 200]] * 3
    assert len(read_boxes([])) == 0


@pytest.mark.parametrize("box", [[1, 2, 3], [1, 2, float("nan"), 4], None, "abcd", [1, 2, 3, "x"]])
def test_a_box_that_is_none_is_named(box: Any) -> None:
    with pytest.raises(DataError, match=r"^car\.jpg, annotation 1: its box .* isn't four finite numbers"):
        read_boxes([_record([1, 1, 2, 2], box)])


def test_a_picture_without_size_is_named() -> None:
    record = _record([1, 1, 2, 2])
    del record["height"]
    with pytest.raises(DataError, match=r"^car\.jpg: its dataset dict lacks height and width"):
        read_boxes([record])


def test_a_sample_is_of_the_boxes(fresh_seed: int) -> None:
    rng = np.random.default_rng(fresh_seed)
    corners = np.arange(400.0).reshape(100, 4)
    boxes = AnnotatedBoxes(corners, np.full((100, 2), 500))
    few = boxes.sample(30, rng)
    assert len(few) == 30
    assert set(map(tuple, few.corners)) <= set(map(tuple, corners))
    assert boxes.sample(100, rng) is boxes
