"""What a model doubts, against sums worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from cardamage.annotation.observing import disagreement, doubt
from cardamage.structures import Boxes, Instances


def found(*boxes: tuple[float, float, float, float, float]) -> Instances:
    """Detections: x0, y0, x1, y1, score each."""
    rows = torch.tensor(boxes).reshape(-1, 5)
    return Instances((100, 100), pred_boxes=Boxes(rows[:, :4]), scores=rows[:, 4])


def test_doubt_is_one_at_a_half_and_none_at_the_ends() -> None:
    assert doubt(np.array([], np.float32)) == 0
    assert doubt(np.array([0.5])) == 1
    assert doubt(np.array([0.0, 1.0])) == 0
    # 1 - |2 * 0.75 - 1| = 0.5, and 0.2 for 0.9 and for 0.1
    assert doubt(np.array([0.75, 0.9, 0.1])) == pytest.approx(0.25 + 0.04 + 0.04)


def test_views_that_agree() -> None:
    assert disagreement(found(), found()) == 0
    same = found((0, 0, 10, 10, 0.9), (20, 20, 40, 50, 0.3))
    assert disagreement(same, same) == 0


def test_an_object_in_one_view_counts_half_its_score() -> None:
    assert disagreement(found((0, 0, 10, 10, 0.8)), found()) == pytest.approx(0.4)
    assert disagreement(found(), found((0, 0, 10, 10, 0.8))) == pytest.approx(0.4)


def test_objects_apart_count_by_their_overlap() -> None:
    # The boxes share 50 of 150 pixels: 0.9 * 2/3 and 0.6 * 2/3, halved.
    one, other = found((0, 0, 10, 10, 0.9)), found((5, 0, 15, 10, 0.6))
    assert disagreement(one, other) == pytest.approx((0.9 + 0.6) * (2 / 3) / 2)
