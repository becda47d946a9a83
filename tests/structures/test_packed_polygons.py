"""Masks laid out as one table come back bit for bit, and count only as long as nobody could change them."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
import torch

from cardamage.structures import Instances, PolygonMasks
from cardamage.structures.packed_polygons import pack_outlines


def _masks(seed: int, count: int) -> PolygonMasks:
    rng = np.random.default_rng(seed)
    parts = [rng.integers(0, 4) for _ in range(count)]
    return PolygonMasks([[rng.normal(size=2 * rng.integers(3, 9)) for _ in range(n)] for n in parts])


def _lists(masks: PolygonMasks) -> list[list[list[float]]]:
    return [[polygon.tolist() for polygon in instance] for instance in masks.polygons]


def test_table_by_hand() -> None:
    table = pack_outlines([[], [np.array([1.0, 2, 3, 4, 5, 6]), np.array([7.0, 8, 9, 10])]])
    assert table.edges.tolist() == [
        [[0.0] * 4] * 5,
        [[1, 2, 3, 4], [3, 4, 5, 6], [5, 6, 1, 2], [7, 8, 9, 10], [9, 10, 7, 8]],
    ]
    assert table.polygon.tolist() == [[0] * 5, [0, 0, 0, 1, 1]]
    assert table.valid.tolist() == [[False] * 5, [True] * 5]
    assert table.num_polygons == 2
    assert len(table) == 2


@pytest.mark.parametrize("seed", range(4))
def test_masks_come_back_as_they_were(seed: int) -> None:
    images = [_masks(seed * 10 + n, count) for n, count in enumerate((3, 0, 5, 1))]
    before = [_lists(masks) for masks in images]
    area = images[2].area()
    table = PolygonMasks.pack_together(images)
    places = [masks.packed for masks in images]
    assert [place[0] is table and place[1] for place in places if place is not None] == [0, 3, 3, 8]
    assert [len(masks) for masks in images] == [3, 0, 5, 1]
    again = pickle.loads(pickle.dumps(images))
    assert len({id(masks.packed[0]) for masks in again}) == 1
    assert torch.equal(images[2].area(), area)
    for masks in (images, again, copy.deepcopy(again)):
        assert [_lists(one) for one in masks] == before
        assert all(one.packed is None for one in masks)  # who has seen them may have changed them


def test_what_is_made_of_packed_masks_is_not_packed() -> None:
    masks = _masks(1, 6)
    wanted = _lists(masks)
    PolygonMasks.pack_together([masks])
    instances = Instances((10, 10), gt_masks=masks, gt_classes=torch.arange(6))
    assert len(instances) == 6
    assert masks.packed is not None
    assert instances.to("cpu").gt_masks.packed is not None
    chosen = instances[torch.tensor([4, 1])].gt_masks
    assert chosen.packed is None
    assert _lists(chosen) == [wanted[4], wanted[1]]
    PolygonMasks.pack_together([masks])
    masks.polygons = [[]]
    assert masks.packed is None
    assert len(masks) == 1


def test_a_polygon_without_points_is_not_lost() -> None:
    masks = PolygonMasks._wrap([[np.zeros(0), np.arange(6.0)]])
    assert PolygonMasks.pack_together([masks]).valid.tolist() == [[True] * 3]
    assert masks.packed is None
    assert [len(p) for p in masks.polygons[0]] == [0, 6]


def test_nothing_to_pack() -> None:
    none = PolygonMasks([])
    assert len(PolygonMasks.pack_together([none])) == 0
    assert none.packed is not None
    assert none.polygons == []
