"""Polygons drawn on the device equal pycocotools' pixel for pixel."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch._subclasses import FakeTensorMode

from cardamage.layers import pack_polygons, rasterize_polygons_in_boxes
from cardamage.layers import rasterize as module
from cardamage.structures import PolygonMasks

KINDS = 8


def _polygon(rng: np.random.Generator, kind: int) -> np.ndarray:
    """Draw a polygon: any, on whole pixels, tiny, one point, on fifths, far away, flat, or on tenths."""
    count = int(rng.integers(3, 14))
    if kind == 0:
        points = rng.uniform(-10, 60, (count, 2))
    elif kind == 1:
        points = rng.integers(-3, 30, (count, 2)).astype(float)
    elif kind == 2:
        points = rng.uniform(0, 1, (count, 2)) * rng.uniform(0.01, 3) + rng.uniform(0, 28, 2)
    elif kind == 3:
        points = np.repeat(rng.uniform(0, 28, (1, 2)), count, axis=0)
    elif kind == 4:
        points = rng.integers(-20, 200, (count, 2)) / 5
    elif kind == 5:
        points = rng.uniform(-1000, 1000, (count, 2))
    elif kind == 6:
        points = rng.uniform(0, 28, (count, 2))
        points[:, rng.integers(2)] = rng.integers(0, 28)
    else:
        points = rng.integers(-20, 300, (count, 2)) / 10
    return points.reshape(-1)


def _boxes(rng: np.random.Generator, count: int, seed: int) -> torch.Tensor:
    corners = rng.uniform(-5, 30, (count, 2))
    sides = rng.uniform(0, 40, (count, 2)) ** rng.uniform(-1, 1.3, (count, 1))
    boxes = np.concatenate((corners, corners + sides), axis=1)
    if seed % 3 == 0:
        boxes = boxes.round()
    if seed % 3 == 1:
        boxes[:] = (0, 0, 28, 28)
    return torch.from_numpy(boxes).float()


@pytest.mark.parametrize("seed", range(12))
def test_equal_to_pycocotools(seed: int) -> None:
    rng = np.random.default_rng(seed)
    instances = [
        [_polygon(rng, int(rng.integers(KINDS))) for _ in range(rng.integers(0, 4))] for _ in range(48)
    ]
    polygons = PolygonMasks(instances)
    packed = pack_polygons([polygons[:20], polygons[20:]])
    index = torch.from_numpy(rng.integers(0, len(polygons), 96))
    boxes = _boxes(rng, 96, seed)
    size = (1, 7, 14, 28, 28, 56)[seed % 6]
    drawn = rasterize_polygons_in_boxes(packed, index, boxes, size)
    assert torch.equal(drawn, polygons[index].crop_and_resize(boxes, size))


def test_chunks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(5)
    polygons = PolygonMasks([[_polygon(rng, 0)] for _ in range(20)])
    packed, index, boxes = pack_polygons([polygons]), torch.arange(20), _boxes(rng, 20, 2)
    whole = rasterize_polygons_in_boxes(packed, index, boxes, 28)
    monkeypatch.setattr(module, "_MAX_CELLS", 3 * packed.edges.shape[1] * 28)
    assert torch.equal(rasterize_polygons_in_boxes(packed, index, boxes, 28), whole)


def test_nothing_to_draw() -> None:
    index = torch.zeros(0, dtype=torch.int64)
    packed = pack_polygons([PolygonMasks([[[0, 0, 4, 0, 4, 4]]])])
    assert rasterize_polygons_in_boxes(packed, index, torch.zeros(0, 4), 28).shape == (0, 28, 28)
    empty = pack_polygons([PolygonMasks([[]])])
    assert not rasterize_polygons_in_boxes(empty, torch.tensor([0]), torch.ones(1, 4), 28).any()
    assert len(pack_polygons([])) == 0
    assert rasterize_polygons_in_boxes(pack_polygons([]), index, torch.zeros(0, 4), 28).shape == (0, 28, 28)


def test_padding_boxes_do_no_harm() -> None:
    """Padded batches hold boxes of any value, whose masks nobody reads."""
    packed = pack_polygons([PolygonMasks([[[0, 0, 4, 0, 4, 4]]])]).to("cpu")
    wild = torch.tensor([[float("nan")] * 4, [-float("inf"), 0, float("inf"), 1], [1e30, 1e30, -1e30, 0]])
    masks = rasterize_polygons_in_boxes(packed, torch.zeros(3, dtype=torch.int64), wild, 14)
    assert masks.shape == (3, 14, 14)


def test_the_host_never_waits_for_the_device() -> None:
    """Fake tensors have no values: any look at one would raise."""
    packed = pack_polygons([PolygonMasks([[[0, 0, 4, 0, 4, 4]], [[1, 1, 2, 1, 2, 2]]])])
    index, boxes = torch.tensor([0, 1, 1]), torch.rand(3, 4)
    with FakeTensorMode() as mode:
        for name in ("edges", "polygon", "valid"):
            setattr(packed, name, mode.from_tensor(getattr(packed, name)))
        masks = rasterize_polygons_in_boxes(packed, mode.from_tensor(index), mode.from_tensor(boxes), 28)
    assert masks.shape == (3, 28, 28)
