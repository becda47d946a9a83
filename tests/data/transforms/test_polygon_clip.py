"""Clipping against an independent reference: even-odd point-in-polygon tests at random places."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cardamage.data.transforms.polygon_clip import clip_polygon


def _inside(points: np.ndarray, polygon: np.ndarray) -> np.ndarray:
    """Even-odd rule, by casting a ray to the right of each point."""
    count = np.zeros(len(points), dtype=int)
    for (x0, y0), (x1, y1) in zip(polygon, np.roll(polygon, -1, axis=0), strict=True):
        spans = (y0 > points[:, 1]) != (y1 > points[:, 1])
        with np.errstate(divide="ignore", invalid="ignore"):
            at = x0 + (points[:, 1] - y0) * (x1 - x0) / (y1 - y0)
        count += spans & (points[:, 0] < at)
    return count % 2 == 1


def _star(rng: np.random.Generator, grid: bool) -> np.ndarray:
    """A simple polygon around the middle of a 100 x 100 field; on a grid, vertices fall on window borders."""
    n = rng.integers(3, 14)
    angles = np.sort((np.arange(n) + rng.uniform(0.1, 0.9, n)) * 2 * np.pi / n)
    radii = rng.uniform(5, 90, n)
    points = 50 + np.stack([radii * np.cos(angles), radii * np.sin(angles)], axis=1)
    return np.round(points / 10) * 10 if grid else points


def _area(polygon: np.ndarray) -> float:
    x, y = polygon.T
    return 0.5 * abs(np.sum(x * np.roll(y, -1) - y * np.roll(x, -1)))


@pytest.mark.parametrize("seed", range(60))
def test_the_pieces_cover_what_is_in_both_polygon_and_window(seed: int) -> None:
    rng = np.random.default_rng(seed)
    polygon = _star(rng, grid=seed % 2 == 1)
    x0, y0 = (rng.integers(0, 6, 2) * 10.0).tolist()
    x1, y1 = x0 + rng.integers(1, 6) * 10.0, y0 + rng.integers(1, 6) * 10.0
    pieces = clip_polygon(polygon.copy(), x0, y0, x1, y1)
    points = rng.uniform(-10, 110, (4000, 2)) + 1e-4  # off the grid
    window = (points > (x0, y0)).all(1) & (points < (x1, y1)).all(1)
    covered = sum((_inside(points, piece).astype(int) for piece in pieces), np.zeros(len(points), dtype=int))
    assert covered.max(initial=0) <= 1
    np.testing.assert_array_equal(covered == 1, _inside(points, polygon) & window)
    for piece in pieces:
        assert (piece >= (x0, y0)).all()
        assert (piece <= (x1, y1)).all()


def test_a_c_shape_falls_apart_and_keeps_clear_of_the_corner() -> None:
    # A hook around the window's upper right corner: only its two ends reach inside.
    hook = np.array(
        [(2, 2), (2, -4), (14, -4), (14, 8), (8, 8), (8, 7), (13, 7), (13, -3), (3, -3), (3, 2)], float
    )
    pieces = clip_polygon(hook, 0, 0, 10, 10)
    boxes = sorted((*piece.min(0), *piece.max(0)) for piece in pieces)
    assert boxes == [(2, 0, 3, 2), (8, 7, 10, 8)]
    assert sorted(map(_area, pieces)) == [2, 2]


def test_a_comb_gives_a_piece_for_each_tooth() -> None:
    comb = [
        (0, 0),
        (9, 0),
        (9, 10),
        (8, 10),
        (8, 2),
        (5, 2),
        (5, 10),
        (4, 10),
        (4, 2),
        (1, 2),
        (1, 10),
        (0, 10),
    ]
    pieces = clip_polygon(np.array(comb, float), -5, 5, 20, 20)
    assert len(pieces) == 3
    assert all(_area(piece) == 5 for piece in pieces)


@pytest.mark.parametrize(
    "polygon",
    [
        [(20, 20), (30, 20), (30, 30)],  # outside
        [(10, 0), (20, 0), (20, 10), (10, 10)],  # touches the border from outside
        [(1, 1), (5, 5)],  # a line
        [(1, 1), (3, 3), (5, 5)],  # on one line
        [(2, 2), (2, 2), (2, 2)],  # a point
        [],
    ],
)
def test_nothing_is_left_of_what_has_no_area_in_the_window(polygon: list[tuple[float, float]]) -> None:
    assert clip_polygon(np.array(polygon, float).reshape(-1, 2), 0, 0, 10, 10) == []


def test_a_polygon_inside_stays_and_the_input_too() -> None:
    triangle = np.array([(1, 1), (9, 2), (5, 9)], float)
    (piece,) = clip_polygon(triangle, 0, 0, 10, 10)
    # From the same corner, the other way round: all pieces turn counter-clockwise on the picture.
    np.testing.assert_array_equal(piece, triangle[[0, 2, 1]])
    piece += 1
    assert triangle[0, 0] == 1


def test_a_bow_tie_keeps_both_wings() -> None:
    bow = np.array([(0, 0), (10, 10), (10, 0), (0, 10)], float)
    assert clip_polygon(bow, -1, -1, 11, 11)
    halves = clip_polygon(bow, 0, 0, 10, 4)
    points = np.random.default_rng(0).uniform(0, 10, (2000, 2))
    expected = _inside(points, bow) & (points[:, 1] < 4)
    np.testing.assert_array_equal(np.any([_inside(points, h) for h in halves], axis=0), expected)


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.tuples(st.integers(-3, 8), st.integers(-3, 8)), min_size=0, max_size=9),
    st.tuples(st.integers(0, 4), st.integers(0, 4), st.integers(1, 4), st.integers(1, 4)),
)
def test_any_ring_gives_finite_pieces_within_the_window(
    ring: list[tuple[int, int]], window: tuple[int, int, int, int]
) -> None:
    x0, y0, w, h = window
    for piece in clip_polygon(np.array(ring, float).reshape(-1, 2), x0, y0, x0 + w, y0 + h):
        assert len(piece) >= 3
        assert np.isfinite(piece).all()
        assert (piece >= (x0, y0)).all()
        assert (piece <= (x0 + w, y0 + h)).all()
