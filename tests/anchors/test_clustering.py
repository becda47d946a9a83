"""k-means by overlap, against plain loops."""

from __future__ import annotations

import numpy as np
import pytest

from cardamage.anchors.clustering import cluster_shapes, draw_centers, improve_centers


def _distance(one: tuple[float, float], other: tuple[float, float]) -> float:
    inside = min(one[0], other[0]) * min(one[1], other[1])
    return 1 - inside / (one[0] * one[1] + other[0] * other[1] - inside)


def _improved(
    shapes: list[tuple[float, float]], centers: list[tuple[float, float]]
) -> tuple[list[tuple[float, float]], float]:
    """The same as the package's, box by box."""
    best, least, members = centers, float("inf"), None
    for _ in range(60):
        distances = [[_distance(shape, center) for center in centers] for shape in shapes]
        mean = sum(min(row) for row in distances) / len(shapes)
        if mean < least:
            best, least = centers, mean
        nearest = [row.index(min(row)) for row in distances]
        if nearest == members:
            break
        members = nearest
        moved = []
        for index, center in enumerate(centers):
            own = [shape for shape, member in zip(shapes, members, strict=True) if member == index]
            moved.append(
                (sum(w for w, _ in own) / len(own), sum(h for _, h in own) / len(own)) if own else center
            )
        centers = moved
    return best, least


@pytest.mark.parametrize("count", [1, 4, 9])
def test_centres_against_loops(count: int, fresh_seed: int) -> None:
    rng = np.random.default_rng(fresh_seed)
    shapes = np.exp(rng.normal(3, 1, (120, 2)))
    shapes[60:80] = shapes[0]
    centers = draw_centers(shapes, count, rng)
    found, distance = improve_centers(shapes, centers)
    expected, least = _improved(list(map(tuple, shapes.tolist())), list(map(tuple, centers.tolist())))
    assert distance == pytest.approx(least, rel=1e-9)
    np.testing.assert_allclose(found, expected, rtol=1e-9)


def test_first_centres_are_different_shapes(fresh_seed: int) -> None:
    rng = np.random.default_rng(fresh_seed)
    kinds = np.array([[10.0, 10], [300, 10], [10, 300], [5, 5]])
    shapes = kinds[rng.integers(0, 4, 500)]
    shapes[:4] = kinds
    assert sorted(map(tuple, draw_centers(shapes, 4, rng))) == sorted(map(tuple, kinds))
    found = cluster_shapes(shapes, 4, 2, rng)
    assert sorted(map(tuple, found.tolist())) == sorted(map(tuple, kinds.tolist()))


def test_planted_groups_are_found(fresh_seed: int) -> None:
    rng = np.random.default_rng(fresh_seed)
    kinds = np.array([[12.0, 30], [60, 20], [100, 130], [400, 60]])
    shapes = np.concatenate([kind * np.exp(rng.normal(0, 0.05, (80, 2))) for kind in kinds])
    found = cluster_shapes(shapes, 4, 8, rng)
    np.testing.assert_allclose(found, kinds, rtol=0.06)


def test_the_same_seed_gives_the_same_clusters() -> None:
    shapes = np.exp(np.random.default_rng(1).normal(3, 1, (300, 2)))
    first, second = (cluster_shapes(shapes, 6, 4, np.random.default_rng(5)) for _ in range(2))
    np.testing.assert_array_equal(first, second)
    assert (np.diff(np.prod(first, axis=1)) >= 0).all()
