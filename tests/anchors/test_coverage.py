"""Shares of boxes, counted directly."""

from __future__ import annotations

import math

import numpy as np
import pytest

from cardamage.anchors import (
    AnchorGrid,
    AnnotatedBoxes,
    Tally,
    background_of,
    coverage_table,
    legend,
    measure_coverage,
)
from cardamage.anchors.boxes import resize_boxes
from cardamage.anchors.coverage import needed_overlaps
from cardamage.anchors.grid import cell_anchors
from cardamage.anchors.overlap import best_shape_overlaps, placed_overlaps
from cardamage.config import get_cfg


def test_counts_in_parts_are_those_of_the_whole(fresh_seed: int) -> None:
    overlaps = np.random.default_rng(fresh_seed).uniform(0, 1, 3000)
    overlaps[:6] = [0.7, 0.5, 0.15, 1.0, 0.0, 0.3]
    tally = Tally.empty()
    for part in np.array_split(overlaps, 7):
        tally.add(part, np.full(len(part), 0.25))
    assert tally.boxes == 3000
    assert tally.reached == (overlaps >= 0.25).mean()
    assert tally.mean == pytest.approx(overlaps.mean())
    for threshold in (0.0, 0.15, 0.3, 0.5, 0.7, 1.0):
        assert tally.recall(threshold) == (overlaps >= threshold).mean()


def test_of_no_boxes_nothing_is_told() -> None:
    tally = Tally.empty()
    assert math.isnan(tally.mean)
    assert math.isnan(tally.recall(0.5))
    coverage = measure_coverage(
        AnnotatedBoxes(np.zeros((0, 4)), np.zeros((0, 2), np.int64)), [(64, 99)], _grid(), 0.3
    )
    assert coverage.placed["all"].boxes == 0
    assert "| -" in coverage_table({"today": coverage}).replace("  ", "")


def _grid() -> AnchorGrid:
    cells = tuple(cell_anchors([size], [0.5, 1, 2]) for size in (16.0, 40.0, 120.0))
    return AnchorGrid(cells, (4, 8, 16), 0.0, 16)


def test_all_sizes_of_a_training_count(fresh_seed: int) -> None:
    rng = np.random.default_rng(fresh_seed)
    pictures = rng.integers(80, 300, (200, 2))
    corners = np.sort(rng.uniform(0, 1, (200, 2, 2)), axis=1).reshape(-1, 4) * pictures[:, [1, 0, 1, 0]]
    boxes, sizes, grid = AnnotatedBoxes(corners, pictures), [(64, 400), (128, 400), (300, 350)], _grid()
    coverage = measure_coverage(boxes, sizes, grid, 0.3)
    resized = list(resize_boxes(boxes, sizes))
    placed = np.concatenate([placed_overlaps(part, grid) for part in resized])
    alone = np.concatenate([best_shape_overlaps(part.shapes, grid.shapes) for part in resized])
    areas = np.concatenate([np.prod(part.shapes, axis=1) for part in resized])
    classes = {
        "all": areas >= 0,
        "small": areas < 32**2,
        "medium": (areas >= 32**2) & (areas < 96**2),
        "large": areas >= 96**2,
    }
    for name, inside in classes.items():
        assert coverage.placed[name].boxes == coverage.shapes[name].boxes == inside.sum()
        assert coverage.placed[name].recall(0.5) == pytest.approx((placed[inside] >= 0.5).mean())
        assert coverage.shapes[name].recall(0.7) == pytest.approx((alone[inside] >= 0.7).mean())
        assert coverage.placed[name].mean == pytest.approx(placed[inside].mean())
    # Moved onto the box, no anchor covers it less.
    assert (alone >= placed - 1e-9).all()
    table = coverage_table({"today": coverage, "tuned": coverage})
    assert table.count("today") == table.count("tuned") == 4
    assert f"{coverage.placed['all'].recall(0.5):.3f}" in table
    assert "at 0.3, " in legend(0.3)


def test_what_a_box_needs_to_be_reached() -> None:
    cfg = get_cfg()
    assert background_of(cfg) == 0.3
    grid = AnchorGrid((cell_anchors([20.0, 50.0], [1.0]),), (4,))
    areas = np.array([1.0, 100, 400 / 3, 200, 300, 400, 401, 1e6])
    expected = [0.1, 0.1, 0.1, 0.15, 0.225, 0.3, 0.3, 0.3]
    np.testing.assert_allclose(needed_overlaps(areas, grid, 0.3), expected)
    # Inside the small anchor, a box of 10x10 overlaps by a quarter; one of 60x5 with neither by 0.3.
    boxes = AnnotatedBoxes(np.array([[15.0, 15, 25, 25], [2, 18, 62, 23]]), np.full((2, 2), 64))
    coverage = measure_coverage(boxes, [(0, 1)], grid, background_of(cfg))
    assert coverage.placed["all"].reached == 0.5
