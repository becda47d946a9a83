"""Objects keep their color while they are followed."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from cardamage.errors import AbsentError
from cardamage.structures import Boxes, Instances
from cardamage.utils.video_visualizer import VideoVisualizer
from cardamage.utils.visualizer import ColorMode, Visualizer

SIZE = (120, 200)


def _frame(*objects: tuple[float, int], ids: list[int] | None = None) -> Instances:
    """Make 40 x 40 boxes at ``x`` of a class."""
    found = Instances(SIZE)
    found.pred_boxes = Boxes(torch.tensor([[x, 40, x + 40, 80] for x, _ in objects]).reshape(-1, 4).float())
    found.pred_classes = torch.tensor([label for _, label in objects], dtype=torch.int64)
    if ids is not None:
        found.ID = torch.tensor(ids)
    return found


def _colors(video: VideoVisualizer, predictions: Instances) -> list[tuple[int, ...]]:
    """Draw a frame and return the color on the right edge of each box, away from tags."""
    image = video.draw_instance_predictions(np.full((*SIZE, 3), 90), predictions).get_image()
    return [tuple(image[77, int(x1)].tolist()) for x1 in predictions.pred_boxes.tensor[:, 2]]


def test_colors_follow_objects_not_their_order() -> None:
    video = VideoVisualizer(None)
    first = _colors(video, _frame((10, 0), (120, 0)))
    assert len(set(first)) == 2
    assert _colors(video, _frame((118, 0), (13, 0))) == first[::-1]
    # Too far from where it was, or of another class, it is another object.
    moved, other = _colors(video, _frame((60, 0), (118, 1)))
    assert len({moved, other, *first}) == 4


def test_lost_objects_are_remembered_for_some_frames() -> None:
    video = VideoVisualizer(None)
    (color,) = _colors(video, _frame((10, 0)))
    for _ in range(5):
        assert _colors(video, _frame()) == []
    assert _colors(video, _frame((10, 0))) == [color]
    for _ in range(10):
        _colors(video, _frame())
    assert _colors(video, _frame((10, 0))) != [color]


def test_two_objects_never_take_one_color() -> None:
    video = VideoVisualizer(None)
    _colors(video, _frame((10, 0)))
    found = video._follow(_frame((10, 0), (12, 0)).pred_boxes, [0, 0])
    assert len(set(found)) == 2


def test_a_trackers_numbers_decide() -> None:
    video = VideoVisualizer({}, ColorMode.IMAGE_BW)
    first = _colors(video, _frame((10, 0), (120, 0), ids=[7, 3]))
    assert _colors(video, _frame((10, 0), (120, 0), ids=[3, 7])) == first[::-1]


def test_what_videos_are_not_drawn_as() -> None:
    with pytest.raises(ValueError, match="not SEGMENTATION"):
        VideoVisualizer({}, ColorMode.SEGMENTATION)
    with pytest.raises(AbsentError, match="panoptic segmentation"):
        VideoVisualizer({}).draw_sem_seg(np.zeros(SIZE), None)
    with pytest.raises(AbsentError, match="rotated boxes"):
        Visualizer(np.zeros((*SIZE, 3))).overlay_rotated_instances()
