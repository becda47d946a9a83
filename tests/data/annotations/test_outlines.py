from __future__ import annotations

import math

import numpy as np
import pycocotools.mask as mask_util
import pytest

from cardamage.data.annotations import outlines


def pixels(polygons: list[np.ndarray], height: int, width: int) -> np.ndarray:
    """What COCO draws."""
    if not polygons:
        return np.zeros((height, width), bool)
    rles = mask_util.frPyObjects([outlines.flat(p) for p in polygons], height, width)
    return mask_util.decode(mask_util.merge(rles)).astype(bool)


def test_as_points_opens_and_cleans() -> None:
    square = [[0, 0], [4, 0], [4, 4], [0, 4]]
    for numbers in (square, [*square, [0, 0]], [0, 0, 4, 0, 4, 0, 4, 4, 0, 4, 0, 0]):
        np.testing.assert_array_equal(outlines.as_points(numbers), square)
    assert outlines.as_points([]).shape == (0, 2)
    assert outlines.as_points([1, 2, 1, 2, 1, 2]).tolist() == [[1, 2]]


@pytest.mark.parametrize("numbers", [[1, 2, 3], [1, float("nan")], [[1, 2], [3]], ["a", "b"]])
def test_as_points_refuses(numbers: list) -> None:
    with pytest.raises(ValueError):  # noqa: PT011
        outlines.as_points(numbers)


@pytest.mark.parametrize("seed", range(3))
def test_area_is_that_of_the_triangles(seed: int) -> None:
    rng = np.random.default_rng(seed)
    a, b, c = rng.uniform(0, 1e4, (3, 2))
    expected = abs((b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])) / 2
    assert outlines.area(np.stack([a, b, c])) == pytest.approx(expected, rel=1e-9)
    assert outlines.area(np.stack([a, b])) == 0.0


def test_crossings() -> None:
    square = np.array([[0, 0], [4, 0], [4, 4], [0, 4]], float)
    eight = square[[0, 2, 1, 3]]
    touching = np.array([[0, 0], [4, 0], [2, 2], [4, 4], [0, 4], [2, 2]], float)
    assert not outlines.crosses_itself(square)
    assert outlines.crosses_itself(eight)
    assert not outlines.crosses_itself(touching)
    assert not outlines.crosses_itself(square[:3])


@pytest.mark.parametrize("seed", range(5))
def test_star_shaped_outlines_do_not_cross(seed: int) -> None:
    rng = np.random.default_rng(seed)
    angles = np.sort(rng.uniform(0, 2 * math.pi, 30))
    star = np.stack([np.cos(angles), np.sin(angles)], 1) * rng.uniform(5, 20, (30, 1))
    assert not outlines.crosses_itself(star)
    star[[4, 20]] = star[[20, 4]]
    assert outlines.crosses_itself(star)


@pytest.mark.parametrize("seed", range(8))
def test_clipped_part_draws_as_the_whole(seed: int) -> None:
    rng = np.random.default_rng(seed)
    angles = np.sort(rng.uniform(0, 2 * math.pi, 12))
    star = np.stack([np.cos(angles), np.sin(angles)], 1) * rng.uniform(10, 60, (12, 1)) + (20, 15)
    clipped = outlines.clip(star, 40, 30)
    assert (clipped >= 0).all()
    assert (clipped <= (40, 30)).all()
    # A canvas with room around shows the whole outline; its window is what must be drawn.
    whole = pixels([star + 100], 300, 300)[100:130, 100:140]
    inside = pixels([clipped], 30, 40)
    # pycocotools rounds lines along the edge by up to a pixel.
    assert (whole != inside)[1:-1, 1:-1].sum() <= 6


def test_clip_outside_and_inside() -> None:
    square = np.array([[0, 0], [4, 0], [4, 4], [0, 4]], float)
    assert len(outlines.clip(square + 100, 40, 30)) == 0
    np.testing.assert_array_equal(outlines.clip(square, 4, 4), square)
    assert outlines.area(outlines.clip(square - 2, 40, 30)) == 4.0


def test_rectangle_takes_corners_in_any_order() -> None:
    for a, b in (((1, 2), (5, 4)), ((5, 4), (1, 2)), ((1, 4), (5, 2))):
        assert outlines.rectangle(a, b).tolist() == [[1, 2], [5, 2], [5, 4], [1, 4]]


@pytest.mark.parametrize("radius", [0.5, 3.0, 40.0, 900.0])
def test_circle_has_its_area_and_stays_close(radius: float) -> None:
    points = outlines.circle((50, 60), radius)
    assert outlines.area(points) == pytest.approx(math.pi * radius**2, rel=1e-6)
    assert np.abs(np.hypot(*(points - (50, 60)).T) - radius).max() < 0.3


def test_ellipse_turns_clockwise_on_screen() -> None:
    points = outlines.ellipse((0, 0), 10, 2, math.pi / 4)
    far = points[np.hypot(*points.T).argmax()]
    assert far[0] * far[1] > 0
    assert outlines.area(points) == pytest.approx(math.pi * 20, rel=1e-6)


def test_stroke_covers_the_line() -> None:
    boxes = outlines.stroke(np.array([[10, 10], [30, 10], [30, 10], [30, 25]], float), 4)
    assert len(boxes) == 2
    mask = pixels(boxes, 40, 40)
    assert mask[8:12, 9:31].all()
    assert mask[10:26, 29:31].all()
    assert mask.sum() == pytest.approx(24 * 4 + 19 * 4 - 16, abs=12)
    assert outlines.stroke(np.array([[1.0, 1.0]]), 4) == []
