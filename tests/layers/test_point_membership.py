from __future__ import annotations

import math

import cv2
import numpy as np
import pytest
import torch

from cardamage.layers import pack_polygons, point_membership
from cardamage.layers.point_membership import points_in_polygons, points_on_bitmaps
from cardamage.structures import PolygonMasks


def _star(rng: np.random.Generator, corners: int) -> np.ndarray:
    """A polygon that doesn't cross itself."""
    angle = np.sort(rng.uniform(0, 2 * math.pi, corners))
    radius = rng.uniform(5, 30, corners)
    return np.stack([40 + radius * np.cos(angle), 40 + radius * np.sin(angle)], axis=1).ravel()


@pytest.mark.parametrize("most", [1, 3])
@pytest.mark.parametrize("at_a_time", [2**22, 500])
def test_points_in_polygons_equal_opencv(
    most: int, at_a_time: int, fresh_seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(point_membership, "_MAX_CELLS", at_a_time)
    rng = np.random.default_rng(fresh_seed)
    instances = [
        [_star(rng, int(n)) for n in rng.integers(4, 15, rng.integers(1, most + 1))] for _ in range(4)
    ]
    index, points = rng.integers(0, 4, 7), rng.uniform(0, 80, (7, 60, 2))
    found = points_in_polygons(
        pack_polygons([PolygonMasks(instances)]), torch.from_numpy(index), torch.from_numpy(points).float()
    )
    for which, row, places in zip(index, found.tolist(), points.astype(np.float32), strict=True):
        shapes = [p.reshape(-1, 1, 2).astype(np.float32) for p in instances[which]]
        for inside, place in zip(row, places.tolist(), strict=True):
            # Distances to the outlines, positive inside.
            depths = [cv2.pointPolygonTest(shape, place, measureDist=True) for shape in shapes]
            if min(map(abs, depths)) > 1e-4:
                assert inside == (max(depths) > 0)


def test_corners_and_level_edges_count_once() -> None:
    # A diamond and a square: rays meet corners, and run along edges.
    diamond, square = np.array([4.0, 0, 8, 4, 4, 8, 0, 4]), np.array([0.0, 0, 8, 0, 8, 8, 0, 8])
    packed = pack_polygons([PolygonMasks([[diamond], [square]])])
    points = torch.tensor([[-1.0, 4], [2, 4], [9, 4], [-1, 0], [-1, 8], [4, 4]])
    found = points_in_polygons(packed, torch.tensor([0, 1]), points.expand(2, -1, -1))
    assert found.tolist() == [[False, True, False, False, False, True]] * 2


def test_a_hole_of_one_polygon_is_outside_and_overlapping_polygons_are_inside() -> None:
    # Outline and hole in one polygon, joined by a bridge that is walked both ways.
    ring = np.array([0.0, 0, 10, 0, 10, 10, 0, 10, 0, 0, 3, 3, 3, 7, 7, 7, 7, 3, 3, 3])
    twice = [np.array([0.0, 0, 6, 0, 6, 6, 0, 6]), np.array([4.0, 4, 10, 4, 10, 10, 4, 10])]
    packed = pack_polygons([PolygonMasks([[ring], twice])])
    points = torch.tensor([[5.0, 5], [1.0, 5.5]]).expand(2, -1, -1)
    found = points_in_polygons(packed, torch.tensor([0, 1]), points)
    assert found.tolist() == [[False, True], [True, True]]


def test_nothing_to_be_inside_of() -> None:
    none = pack_polygons([PolygonMasks([])])
    assert points_in_polygons(none, torch.zeros(2, dtype=torch.int64), torch.zeros(2, 3, 2)).sum() == 0
    one = pack_polygons([PolygonMasks([[np.array([0.0, 0, 4, 0, 4, 4])]])])
    assert points_in_polygons(one, torch.zeros(0, dtype=torch.int64), torch.zeros(0, 3, 2)).shape == (0, 3)
    assert points_on_bitmaps([], torch.zeros(2, dtype=torch.int64), torch.zeros(2, 3, 2)).sum() == 0


def test_bitmaps_of_several_sizes_equal_a_loop_in_float64(fresh_seed: int) -> None:
    rng = np.random.default_rng(fresh_seed)
    images = [rng.random((2, 9, 7)) < 0.5, np.zeros((0, 5, 5), bool), rng.random((3, 4, 12)) < 0.5]
    every = [mask for image in images for mask in image]
    index, points = rng.integers(0, 5, 8), rng.uniform(-2, 14, (8, 30, 2))
    found = points_on_bitmaps(
        [torch.from_numpy(image) for image in images], torch.from_numpy(index), torch.from_numpy(points)
    )
    for which, row, places in zip(index, found.tolist(), points, strict=True):
        mask = every[which].astype(float)
        for value, (x, y) in zip(row, places, strict=True):
            wanted = sum(
                mask[j, i] * max(0, 1 - abs(x - 0.5 - i)) * max(0, 1 - abs(y - 0.5 - j))
                for j in range(mask.shape[0])
                for i in range(mask.shape[1])
            )
            assert value == pytest.approx(wanted, abs=1e-6)
