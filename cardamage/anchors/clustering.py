"""Boxes put into groups of like shape: k-means whose distance is one minus the overlap.

Redmon and Farhadi, YOLO9000: Better, Faster, Stronger, CVPR 2017, section 2; the first centres are drawn as
in Arthur and Vassilvitskii, k-means++: The Advantages of Careful Seeding, SODA 2007.
"""

from __future__ import annotations

import numpy as np

from .overlap import shape_overlaps

__all__ = ["cluster_shapes", "draw_centers", "improve_centers"]

_ROUNDS = 60


def cluster_shapes(shapes: np.ndarray, count: int, starts: int, rng: np.random.Generator) -> np.ndarray:
    """Find shapes that are near those of many boxes.

    Args:
        shapes: (N, 2) float64 widths and heights, at least ``count`` different ones.
        count: how many shapes to find.
        starts: how often to begin anew; the best result counts.
        rng: decides on the first centres.

    Returns:
        (count, 2) float64 widths and heights by area.
    """
    found = [improve_centers(shapes, draw_centers(shapes, count, rng)) for _ in range(starts)]
    best, _ = min(found, key=lambda result: result[1])
    return best[np.argsort(np.prod(best, axis=1), kind="stable")]


def draw_centers(shapes: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """Draw first centres among the shapes, each with the square of its distance to those before as weight.

    Args:
        shapes: (N, 2) float64, at least ``count`` different ones.
        count: how many.
        rng: decides.

    Returns:
        (count, 2) float64, all different.
    """
    chosen = [int(rng.integers(len(shapes)))]
    nearest = np.full(len(shapes), np.inf)
    for _ in range(count - 1):
        distance = 1 - shape_overlaps(shapes, shapes[chosen[-1:]])[:, 0]
        nearest = np.minimum(nearest, distance)
        weights = np.square(nearest)
        chosen.append(int(rng.choice(len(shapes), p=weights / weights.sum())))
    return shapes[chosen]


def improve_centers(shapes: np.ndarray, centers: np.ndarray) -> tuple[np.ndarray, float]:
    """Move centres to the mean width and height of the boxes nearest to them until no box changes over.

    The mean isn't what lies nearest by overlap, so a round may also make it worse: the best round counts. A
    centre that no box is nearest to stays where it is.

    Args:
        shapes: (N, 2) float64.
        centers: (K, 2) float64.

    Returns:
        (K, 2) float64 centres, and the mean distance of the boxes to the nearest of them.
    """
    best, least = centers, np.inf
    members = np.full(len(shapes), -1)
    for _ in range(_ROUNDS):
        distances = 1 - shape_overlaps(shapes, centers)
        mean = float(distances.min(axis=1).mean())
        if mean < least:
            best, least = centers, mean
        nearest = distances.argmin(axis=1)
        if (nearest == members).all():
            break
        members = nearest
        counts = np.bincount(members, minlength=len(centers))
        sums = np.stack([np.bincount(members, side, len(centers)) for side in shapes.T], axis=1)
        centers = np.where(counts[:, None] > 0, sums / np.maximum(counts, 1)[:, None], centers)
    return best, least
