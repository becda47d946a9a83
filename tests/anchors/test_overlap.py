"""Best overlaps without the grid, against the model's own anchors and pairwise overlaps."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch

from cardamage.anchors import PlacedBoxes, grid_of_config
from cardamage.anchors.boxes import resize_boxes
from cardamage.anchors.grid import AnchorGrid, cell_anchors
from cardamage.anchors.overlap import best_shape_overlaps, placed_overlaps, shape_overlaps
from cardamage.config import get_cfg
from cardamage.modeling import build_anchor_generator, build_backbone
from cardamage.modeling.anchor_generator import DefaultAnchorGenerator
from tests.support.paths import REPOSITORY


def _random_boxes(rng: np.random.Generator, count: int, height: int, width: int) -> np.ndarray:
    """Corners inside a picture: tiny and huge ones, thin ones, and some at the edges."""
    sides = np.exp(rng.uniform(0, np.log([width, height]), (count, 2)))
    start = rng.uniform(0, 1, (count, 2)) * ([width, height] - sides)
    start[::7] = 0
    start[3::7] = ([width, height] - sides)[3::7]
    return np.concatenate([start, start + sides], axis=1)


def _pairwise(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Overlaps of all pairs in float64, as their definition has them."""
    low, high = np.maximum(first[:, None, :2], second[:, :2]), np.minimum(first[:, None, 2:], second[:, 2:])
    inside = np.prod((high - low).clip(min=0), axis=2)
    areas = [np.prod(b[:, 2:] - b[:, :2], axis=1) for b in (first, second)]
    return inside / (areas[0][:, None] + areas[1] - inside)


def _generated(generator: Any, grid: AnchorGrid, height: int, width: int) -> np.ndarray:
    """All anchors that the model's own generator makes for a picture padded alone."""
    step = max(grid.divisor, 1)
    padded = math.ceil(height / step) * step, math.ceil(width / step) * step
    maps = [torch.zeros(1, 1, *(math.ceil(side / stride) for side in padded)) for stride in grid.strides]
    return torch.cat([boxes.tensor for boxes in generator(maps)]).double().numpy()


@pytest.mark.parametrize(
    "config", ["Base-RCNN-FPN.yaml", "Base-RCNN-C4.yaml", "parts/mask_rcnn_R_18_FPN.yaml"]
)
def test_the_best_of_all_anchors_of_a_picture(config: str, fresh_seed: int) -> None:
    cfg = get_cfg()
    cfg.merge_from_file(str(REPOSITORY / "configs" / config))
    cfg.MODEL.ANCHOR_GENERATOR.OFFSET = 0.5 if fresh_seed % 2 else 0.0
    grid = grid_of_config(cfg)
    assert grid is not None
    shapes = build_backbone(cfg).output_shape()
    generator = build_anchor_generator(cfg, [shapes[name] for name in cfg.MODEL.RPN.IN_FEATURES])
    rng = np.random.default_rng(fresh_seed)
    for _ in range(3):
        height, width = (int(x) for x in rng.integers(60, 400, 2))
        corners = _random_boxes(rng, 60, height, width)
        expected = _pairwise(corners, _generated(generator, grid, height, width)).max(axis=1)
        boxes = PlacedBoxes(corners, np.tile([height, width], (60, 1)))
        np.testing.assert_allclose(placed_overlaps(boxes, grid), expected, atol=2e-5)


@pytest.mark.parametrize("boundary", [0.0, 7.5])
def test_anchors_outside_the_boundary_are_left_out(boundary: float, fresh_seed: int) -> None:
    sizes, ratios, strides = [[24.0], [400.0]], [[0.5, 2.0]], (8, 32)
    grid = AnchorGrid(
        (cell_anchors([24.0], ratios[0]), cell_anchors([400.0], ratios[0])), strides, 0.3, 32, boundary
    )
    generator = DefaultAnchorGenerator(sizes=sizes, aspect_ratios=ratios, strides=strides, offset=0.3)
    rng = np.random.default_rng(fresh_seed)
    height, width = 130, 215
    corners = _random_boxes(rng, 80, height, width)
    anchors = _generated(generator, grid, height, width)
    low, high = (
        (anchors[:, :2] >= -boundary).all(axis=1),
        anchors[:, 2:] < np.array([width, height]) + boundary,
    )
    expected = _pairwise(corners, anchors[low & high.all(axis=1)]).max(axis=1)
    found = placed_overlaps(PlacedBoxes(corners, np.tile([height, width], (80, 1))), grid)
    np.testing.assert_allclose(found, expected, atol=2e-5)


def test_no_anchor_inside_the_boundary_reaches_nothing() -> None:
    grid = AnchorGrid((cell_anchors([500.0], [1.0]),), (16,), boundary=0.0)
    boxes = PlacedBoxes(np.array([[10.0, 10, 60, 60]]), np.array([[100, 100]]))
    assert placed_overlaps(boxes, grid).tolist() == [0.0]


def test_worked_out_by_hand() -> None:
    # A 16x16 anchor around the point (16, 16) is 8 to 24; the box 12 to 28 shares 12 x 12 of it.
    grid = AnchorGrid((cell_anchors([16.0], [1.0]),), (16,), 0.0, 32)
    boxes = PlacedBoxes(np.array([[12.0, 12, 28, 28], [8, 8, 24, 24]]), np.array([[64, 64], [64, 64]]))
    np.testing.assert_allclose(placed_overlaps(boxes, grid), [144 / (256 + 256 - 144), 1.0])


def test_no_boxes() -> None:
    grid = AnchorGrid((cell_anchors([16.0], [1.0]),), (16,))
    assert placed_overlaps(PlacedBoxes(np.zeros((0, 4)), np.zeros((0, 2), np.int64)), grid).shape == (0,)
    assert best_shape_overlaps(np.zeros((0, 2)), grid.shapes).shape == (0,)


def test_shapes_against_loops(fresh_seed: int) -> None:
    rng = np.random.default_rng(fresh_seed)
    shapes, anchors = np.exp(rng.uniform(0, 6, (40, 2))), np.exp(rng.uniform(0, 6, (9, 2)))
    anchors[4] = shapes[7]
    expected = [
        [min(w, a) * min(h, b) / (w * h + a * b - min(w, a) * min(h, b)) for a, b in anchors.tolist()]
        for w, h in shapes.tolist()
    ]
    np.testing.assert_allclose(shape_overlaps(shapes, anchors), expected, rtol=1e-12)
    np.testing.assert_allclose(best_shape_overlaps(shapes, anchors), np.max(expected, axis=1), rtol=1e-12)
    assert best_shape_overlaps(shapes, anchors)[7] == 1.0


def test_a_hundred_thousand_boxes_take_little_memory() -> None:
    rng = np.random.default_rng(3)
    corners = _random_boxes(rng, 100_000, 800, 1333)
    cfg = get_cfg()
    cfg.merge_from_file(str(REPOSITORY / "configs" / "Base-RCNN-FPN.yaml"))
    grid = grid_of_config(cfg)
    assert grid is not None
    boxes = PlacedBoxes(corners, np.tile([800, 1333], (100_000, 1)))
    found = placed_overlaps(boxes, grid)
    chosen = rng.choice(100_000, 50, replace=False)
    few = placed_overlaps(PlacedBoxes(corners[chosen], boxes.pictures[chosen]), grid)
    np.testing.assert_array_equal(found[chosen], few)


def test_resized_boxes_are_on_the_networks_picture() -> None:
    from cardamage.anchors import AnnotatedBoxes

    boxes = AnnotatedBoxes(np.array([[0.0, 0, 50, 100]]), np.array([[100, 50]]))
    (placed,) = resize_boxes(boxes, [(25, 1000)])
    assert placed.pictures.tolist() == [[50, 25]]
    assert placed.corners.tolist() == [[0, 0, 25, 50]]
