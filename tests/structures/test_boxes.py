"""Boxes behave as a list of boxes and measure as closed forms say."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from cardamage.structures import (
    Boxes,
    matched_pairwise_iou,
    pairwise_intersection,
    pairwise_ioa,
    pairwise_iou,
    pairwise_point_box_distance,
)


def _random_boxes(count: int, seed: int) -> Boxes:
    generator = torch.Generator().manual_seed(seed)
    corners = torch.rand(count, 2, generator=generator) * 50
    return Boxes(torch.cat((corners, corners + torch.rand(count, 2, generator=generator) * 40), dim=1))


@pytest.mark.parametrize("empty", [[], torch.zeros(0), torch.zeros(0, 4), np.zeros((0, 4))])
def test_nothing_becomes_zero_boxes(empty: object) -> None:
    boxes = Boxes(empty)
    assert boxes.tensor.shape == (0, 4)
    assert boxes.area().shape == boxes.nonempty().shape == (0,)
    assert Boxes.cat([]).tensor.shape == (0, 4)
    assert pairwise_iou(boxes, _random_boxes(3, 0)).shape == (0, 3)


def test_wrong_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match=r"shape \(N, 4\), got shape \[2, 5\]"):
        Boxes(torch.zeros(2, 5))
    with pytest.raises(ValueError, match="give shape"):
        Boxes(torch.zeros(2, 4))[:, 0]


def test_indexing_keeps_boxes() -> None:
    boxes = _random_boxes(5, 1)
    assert torch.equal(boxes[2].tensor, boxes.tensor[2:3])
    assert torch.equal(boxes[-1].tensor, boxes.tensor[4:])
    assert torch.equal(boxes[1:4].tensor, boxes.tensor[1:4])
    mask = torch.tensor([True, False, True, False, False])
    assert torch.equal(boxes[mask].tensor, boxes.tensor[[0, 2]])
    assert len(list(boxes)) == 5
    assert torch.equal(Boxes.cat([boxes[:2], boxes[2:]]).tensor, boxes.tensor)


def test_clip_scale_and_centers() -> None:
    boxes = Boxes([[-5.0, -5, 15, 30], [2, 3, 4, 5]])
    boxes.clip((20, 10))
    assert boxes.tensor.tolist() == [[0, 0, 10, 20], [2, 3, 4, 5]]
    assert boxes.area().tolist() == [200, 4]
    assert boxes.get_centers().tolist() == [[5, 10], [3, 4]]
    copy = boxes.clone()
    copy.scale(2, 10)
    assert copy.tensor[1].tolist() == [4, 30, 8, 50]
    assert boxes.tensor[1].tolist() == [2, 3, 4, 5]


def test_clipping_nan_is_an_error() -> None:
    with pytest.raises(ValueError, match="infinite or NaN"):
        Boxes([[0, 0, float("nan"), 1]]).clip((5, 5))


def test_nonempty_and_inside() -> None:
    boxes = Boxes([[0, 0, 1, 1], [0, 0, 0, 5], [3, 3, 2, 9], [-1, 0, 5, 5]])
    assert boxes.nonempty().tolist() == [True, False, False, True]
    assert boxes.nonempty(1).tolist() == [False, False, False, True]
    assert boxes.inside_box((10, 10)).tolist() == [True, True, True, False]
    assert boxes.inside_box((10, 10), 1).tolist() == [True, True, True, True]


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_overlaps_equal_a_loop_in_float64(seed: int) -> None:
    first, second = _random_boxes(13, seed), _random_boxes(9, seed + 100)
    for i, a in enumerate(first.tensor.double().tolist()):
        for j, b in enumerate(second.tensor.double().tolist()):
            width = max(0.0, min(a[2], b[2]) - max(a[0], b[0]))
            height = max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
            area_a, area_b = (a[2] - a[0]) * (a[3] - a[1]), (b[2] - b[0]) * (b[3] - b[1])
            inter = width * height
            assert pairwise_intersection(first, second)[i, j].item() == pytest.approx(inter, abs=1e-3)
            assert pairwise_iou(first, second)[i, j].item() == pytest.approx(
                inter / (area_a + area_b - inter), abs=1e-5
            )
            assert pairwise_ioa(first, second)[i, j].item() == pytest.approx(inter / area_b, abs=1e-4)
    matched = matched_pairwise_iou(first[:9], second)
    torch.testing.assert_close(matched, pairwise_iou(first[:9], second).diagonal())


@pytest.mark.parametrize(
    ("first", "second", "intersection", "iou", "ioa"),
    [
        ([0, 0, 1, 1], [0, 0, 1, 1], 1, 1, 1),  # one pixel
        ([0, 0, 10, 10], [10, 0, 20, 10], 0, 0, 0),  # side by side
        ([0, 0, 10, 10], [10, 10, 20, 20], 0, 0, 0),  # corner to corner
        ([0, 0, 10, 10], [2, 3, 4, 7], 8, 0.08, 1),  # the second inside
        ([2, 3, 4, 7], [0, 0, 10, 10], 8, 0.08, 0.08),  # the first inside
        ([-20, -20, -10, -10], [-15, -15, 5, 5], 25, 25 / 475, 25 / 400),  # left of and above the picture
        ([0, 0, 10, 10], [5, 5, 5, 9], 0, 0, 0),  # a line
        ([0, 0, 4096, 4096], [4095, 4095, 4096, 4096], 1, 2.0**-24, 1),
    ],
)
def test_overlaps_worked_out_by_hand(
    first: list[float], second: list[float], intersection: float, iou: float, ioa: float
) -> None:
    a, b = Boxes([first]), Boxes([second])
    assert pairwise_intersection(a, b).item() == intersection
    assert pairwise_iou(a, b).item() == pytest.approx(iou, rel=1e-6)
    assert pairwise_ioa(a, b).item() == pytest.approx(ioa, rel=1e-6)
    if b.area().item():
        assert matched_pairwise_iou(a, b).item() == pytest.approx(iou, rel=1e-6)


def test_empty_boxes_overlap_nothing() -> None:
    point = Boxes([[3, 3, 3, 3]])
    assert pairwise_iou(point, point).item() == 0
    assert pairwise_ioa(point, point).item() == 0
    with pytest.raises(ValueError, match="equally many, got 1 and 2"):
        matched_pairwise_iou(point, Boxes.cat([point, point]))


def test_distance_to_edges() -> None:
    distances = pairwise_point_box_distance(torch.tensor([[2.0, 3.0]]), Boxes([[0, 0, 5, 7]]))
    assert distances.tolist() == [[[2, 3, 3, 4]]]


def test_boxes_in_torchscript() -> None:
    def around(x: torch.Tensor) -> tuple[torch.Tensor, int]:
        boxes = Boxes(x)
        both = boxes.cat([boxes, Boxes(x + 1)])
        both.clip((40, 30))
        return both.area(), len(both)

    x = _random_boxes(5, 0).tensor
    (area, count), (expected, _) = torch.jit.script(around)(x), around(x)
    assert torch.equal(area, expected)
    assert count == 10
