"""Polygons of masks, against masks drawn again and distances of many points on their outlines."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pycocotools.mask as mask_util
import pytest

from cardamage.annotation.polygons import trace
from cardamage.data.annotations import outlines


def encoded(mask: np.ndarray) -> dict[str, Any]:
    return mask_util.encode(np.asfortranarray(mask.astype(np.uint8)))


def drawn(polygons: list[np.ndarray], size: tuple[int, int]) -> np.ndarray:
    return mask_util.decode(
        mask_util.merge(mask_util.frPyObjects([p.ravel().tolist() for p in polygons], *size))
    )


def blob(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """A smooth random region, as models predict them."""
    noise = cv2.GaussianBlur(rng.normal(size=(height, width)), (0, 0), 6)
    return (noise > np.quantile(noise, 0.7)).astype(np.uint8)


def edges(mask: np.ndarray) -> np.ndarray:
    """The edges between a mask's pixels and the others, float64 (N, start and end, x and y)."""
    padded = np.pad(mask, 1).astype(int)
    y, x = np.nonzero(padded[1:-1, 1:] != padded[1:-1, :-1])
    upright = np.stack([x, y, x, y + 1], axis=1)
    y, x = np.nonzero(padded[1:, 1:-1] != padded[:-1, 1:-1])
    flat = np.stack([x, y, x + 1, y], axis=1)
    return np.concatenate([upright, flat]).reshape(-1, 2, 2).astype(float)


def sides(polygons: list[np.ndarray]) -> np.ndarray:
    return np.concatenate([np.stack([p, np.roll(p, -1, axis=0)], axis=1) for p in polygons])


def farthest(pieces: np.ndarray, others: np.ndarray) -> float:
    """The largest distance of a point on some pieces of lines from the nearest other piece.

    Points are a quarter of a pixel apart, so it is short by 1/8 at most.
    """
    steps = int(np.ceil(4 * np.abs(pieces[:, 1] - pieces[:, 0]).max()))
    share = np.linspace(0, 1, steps + 1)[:, None, None]
    points = (pieces[:, 0] + share * (pieces[:, 1] - pieces[:, 0])).reshape(-1, 2)
    points = np.unique(points.round(1), axis=0)
    start, along = others[:, 0], others[:, 1] - others[:, 0]
    largest = 0.0
    for chunk in np.array_split(points, max(1, len(points) // 500)):
        to = chunk[:, None] - start
        part = np.clip((to * along).sum(axis=2) / np.maximum((along**2).sum(axis=1), 1e-12), 0, 1)
        away = np.hypot(*np.moveaxis(to - part[..., None] * along, 2, 0))
        largest = max(largest, float(away.min(axis=1).max()))
    return largest


def test_a_mask_without_pixels_has_no_polygon() -> None:
    assert trace(encoded(np.zeros((5, 7)))).polygons == []


@pytest.mark.parametrize("size", [(1, 1), (1, 6), (6, 1), (2, 2), (2, 40)])
def test_small_and_thin_masks_keep_their_shape(size: tuple[int, int]) -> None:
    mask = np.zeros((50, 60), np.uint8)
    mask[3 : 3 + size[0], 4 : 4 + size[1]] = 1
    traced = trace(encoded(mask), tolerance=1.0)
    assert len(traced.polygons) == 1
    assert traced.fit.iou == 1
    assert (drawn(traced.polygons, (50, 60)) == mask).all()


@pytest.mark.parametrize("seed", range(5))
def test_tolerance_0_is_the_mask_itself(seed: int) -> None:
    rng = np.random.default_rng(seed)
    # Columns that hang together, so without holes or pixels that meet at corners only.
    top, bottom = rng.integers(0, 20, 50), rng.integers(21, 40, 50)
    rows = np.arange(40)[:, None]
    mask = np.pad(((rows >= top) & (rows < bottom)).astype(np.uint8), rng.integers(0, 5, (2, 2)))
    traced = trace(encoded(mask), tolerance=0, speck=0)
    assert traced.fit.distance == 0
    assert traced.fit.iou == 1
    assert (drawn(traced.polygons, mask.shape) == mask).all()


@pytest.mark.parametrize("turns", range(4))
def test_no_outline_touches_itself(turns: int) -> None:
    mask = np.zeros((40, 40), np.uint8)
    # A ring that is closed at one corner only.
    mask[5:35, 5:10] = mask[5:10, 5:30] = mask[30:35, 5:31] = 1
    mask[10:20, 30:35] = mask[20:30, 31:35] = 1
    mask[19:31, 30] = 1
    mask = np.rot90(mask, turns)
    traced = trace(encoded(mask), tolerance=0)
    added = drawn(traced.polygons, mask.shape).astype(int) - mask
    assert added.min() == 0
    assert len(traced.polygons) == 1
    # The one corner closes the ring, so that what is left is the bridge to the hole in it.
    (polygon,) = traced.polygons
    _, counts = np.unique(polygon, axis=0, return_counts=True)
    assert added.sum() == 1
    assert (counts > 1).sum() == 2


@pytest.mark.parametrize("seed", range(20))
def test_masks_full_of_corners_have_outlines_that_touch_at_bridges_only(seed: int) -> None:
    rng = np.random.default_rng(seed)
    mask = (rng.random((12, 15)) < rng.uniform(0.4, 0.9)).astype(np.uint8)
    for polygon in trace(encoded(mask), tolerance=0, speck=200).polygons:
        # Holes are filled with so large a speck, so there is no bridge either.
        assert not _has_bridge(polygon)
        assert not outlines.crosses_itself(polygon)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("tolerance", [0.5, 1.0, 3.0])
def test_the_distance_reported_holds(seed: int, tolerance: float) -> None:
    rng = np.random.default_rng(seed)
    mask = blob(rng, int(rng.integers(40, 90)), int(rng.integers(40, 90)))
    traced = trace(encoded(mask), tolerance, speck=0)
    exact = trace(encoded(mask), 0, speck=0)
    around = edges(drawn(exact.polygons, mask.shape))
    lines = sides(traced.polygons)
    assert traced.fit.distance <= tolerance
    # Bridges to holes are no edges of the mask. Points are rounded to tenths.
    if not any(_has_bridge(polygon) for polygon in traced.polygons):
        assert farthest(lines, around) <= traced.fit.distance + 0.08
    assert farthest(around, lines) <= traced.fit.distance + 0.08
    again = drawn(traced.polygons, mask.shape)
    iou = (again & mask).sum() / (again | mask).sum()
    assert traced.fit.iou == pytest.approx(iou)
    assert not any(outlines.crosses_itself(polygon) for polygon in traced.polygons)
    assert all(
        polygon.min() >= 0 and (polygon.max(axis=0) <= mask.shape[::-1]).all() for polygon in traced.polygons
    )


def _has_bridge(polygon: np.ndarray) -> bool:
    return len(np.unique(polygon, axis=0)) < len(polygon)


def test_parts_are_kept_by_size_and_specks_left_out() -> None:
    mask = np.zeros((100, 100), np.uint8)
    mask[0:40, 0:40] = 1  # 1600 pixels
    mask[60:70, 60:70] = 1  # 100, more than a twentieth
    mask[80:88, 0:9] = 1  # 72, less
    mask[95, 95] = 1
    traced = trace(encoded(mask))
    assert [outlines.area(polygon) for polygon in traced.polygons] == [1600, 100]
    assert traced.fit.iou == pytest.approx(1700 / 1773)
    assert len(trace(encoded(mask), speck=100).polygons) == 1


def test_the_largest_part_stays_however_small() -> None:
    mask = np.zeros((9, 9), np.uint8)
    mask[2, 2:5] = mask[7, 7] = 1
    assert [outlines.area(polygon) for polygon in trace(encoded(mask)).polygons] == [3]


def test_small_holes_are_filled_and_large_ones_kept() -> None:
    mask = np.zeros((80, 80), np.uint8)
    mask[10:70, 10:70] = 1
    mask[15:19, 15:19] = 0  # 16 pixels
    mask[30:50, 30:60] = 0  # 600 of 3600
    traced = trace(encoded(mask))
    wanted = mask.copy()
    wanted[15:19, 15:19] = 1
    assert len(traced.polygons) == 1
    assert (drawn(traced.polygons, mask.shape) == wanted).all()


@pytest.mark.parametrize("tolerance", [0.5, 1.0, 2.0])
@pytest.mark.parametrize("seed", range(6))
def test_outlines_with_holes_stay_within_the_tolerance(seed: int, tolerance: float) -> None:
    x, y, r, s = np.random.default_rng(seed).uniform((30, 30, 22, 8), (50, 50, 28, 12))
    mask = np.zeros((80, 80), np.uint8)
    cv2.ellipse(mask, (int(x), int(y)), (int(r), int(r) - 4), seed * 20, 0, 360, 1, -1)
    cv2.ellipse(mask, (int(x) + 3, int(y) - 2), (int(s), int(s) - 2), seed * 50, 0, 360, 0, -1)
    traced = trace(encoded(mask), tolerance)
    assert len(traced.polygons) == 1
    assert _has_bridge(traced.polygons[0])
    assert 0 < traced.fit.distance <= tolerance
    assert farthest(edges(mask), sides(traced.polygons)) <= traced.fit.distance + 0.08
    assert traced.fit.iou > 0.9


def test_a_hole_open_at_a_corner_of_the_picture_is_no_hole() -> None:
    mask = np.ones((20, 20), np.uint8)
    mask[:3, :3] = 0
    assert (drawn(trace(encoded(mask)).polygons, mask.shape) == mask).all()


def test_pixels_that_touch_at_a_corner_are_two_parts() -> None:
    mask = np.zeros((30, 30), np.uint8)
    mask[0:10, 0:10] = mask[10:20, 10:20] = 1
    assert len(trace(encoded(mask)).polygons) == 2


def test_a_simple_shape_gets_few_points() -> None:
    mask = np.zeros((300, 300), np.uint8)
    cv2.fillPoly(mask, [np.array([[20, 30], [270, 60], [250, 280], [40, 200]])], 1)
    traced = trace(encoded(mask), tolerance=1.0)
    assert len(traced.polygons[0]) <= 12
    assert traced.fit.iou > 0.985
