"""Polygons, bit masks and run lengths agree with pycocotools and with each other."""

from __future__ import annotations

import numpy as np
import pycocotools.mask as mask_util
import pytest
import torch

from cardamage.structures import (
    BitMasks,
    PolygonMasks,
    RLEMasks,
    polygon_area,
    polygons_to_bitmask,
    rasterize_polygons_within_box,
)

SQUARE = [2.0, 3.0, 6.0, 3.0, 6.0, 8.0, 2.0, 8.0]
TRIANGLE = [0.0, 0.0, 4.0, 0.0, 4.0, 4.0]


def _random_masks(seed: int, count: int = 6, height: int = 23, width: int = 31) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(count, height, width, generator=generator) > torch.rand(
        count, 1, 1, generator=generator
    )


def test_polygon_masks_measure() -> None:
    masks = PolygonMasks([[SQUARE], [TRIANGLE, np.array(SQUARE)], []])
    assert masks.area().tolist() == [20, 28, 0]
    assert masks.nonempty().tolist() == [True, True, False]
    assert masks.get_bounding_boxes().tensor.tolist() == [[2, 3, 6, 8], [0, 0, 6, 8], [0, 0, 0, 0]]
    assert masks.to("cpu") is masks
    assert polygon_area(np.array([0, 1, 1, 0]), np.array([0, 0, 1, 1])) == 1


@pytest.mark.parametrize(
    "item", [torch.tensor([True, False, True]), [0, 2], torch.tensor([0, 2]), slice(0, 3, 2)]
)
def test_polygon_masks_index(item: object) -> None:
    masks = PolygonMasks([[SQUARE], [TRIANGLE, SQUARE], []])
    assert [len(instance) for instance in masks[item]] == [1, 0]
    assert len(masks[1]) == 1
    assert len(masks[1].polygons[0]) == 2
    assert len(PolygonMasks.cat([masks, masks[:1]])) == 4
    assert len(masks[[]]) == 0


def test_bad_polygons_are_named() -> None:
    with pytest.raises(
        ValueError, match="instance 1 can't be used: it needs a flat list of at least 3 points"
    ):
        PolygonMasks([[SQUARE], [[1, 2, 3, 4]]])
    with pytest.raises(ValueError, match="got tuple"):
        PolygonMasks(([SQUARE],))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="Instance 0 needs a list of polygons"):
        PolygonMasks([np.array(SQUARE)])  # type: ignore[list-item]
    with pytest.raises(ValueError, match="must be a vector"):
        PolygonMasks([[SQUARE]])[torch.tensor([0.5])]


def test_drawing_is_pycocotools() -> None:
    drawn = polygons_to_bitmask([np.array(SQUARE), np.array(TRIANGLE)], 10, 12)
    rle = mask_util.merge(mask_util.frPyObjects([SQUARE, TRIANGLE], 10, 12))
    assert np.array_equal(drawn, mask_util.decode(rle).astype(bool))
    assert drawn[3:8, 2:6].all()
    assert not polygons_to_bitmask([], 4, 5).any()
    masks = BitMasks.from_polygon_masks(PolygonMasks([[SQUARE], []]), 10, 12)
    assert masks.area().tolist() == [20, 0]
    assert BitMasks.from_polygon_masks([], 3, 4).tensor.shape == (0, 3, 4)


def test_crop_and_resize_of_both_kinds() -> None:
    polygons = PolygonMasks([[SQUARE]])
    box = torch.tensor([[0.0, 3.0, 8.0, 8.0]])
    expected = torch.zeros(8, 8, dtype=torch.bool)
    expected[:, 2:6] = True
    assert torch.equal(polygons.crop_and_resize(box, 8)[0], expected)
    assert torch.equal(BitMasks.from_polygon_masks(polygons, 12, 12).crop_and_resize(box, 8)[0], expected)
    assert torch.equal(rasterize_polygons_within_box([np.array(SQUARE)], box[0].numpy(), 8), expected)
    assert PolygonMasks([]).crop_and_resize(torch.zeros(0, 4), 28).shape == (0, 28, 28)
    assert BitMasks(torch.zeros(0, 5, 5)).crop_and_resize(torch.zeros(0, 4), 28).shape == (0, 28, 28)
    for masks in (polygons, BitMasks(torch.zeros(1, 5, 5))):
        with pytest.raises(ValueError, match="a box for each mask, got 2 and 1"):
            masks.crop_and_resize(torch.zeros(2, 4), 8)


def test_one_pixel_has_a_box_of_one_pixel() -> None:
    picture = torch.zeros(3, 7, 9)
    picture[0, 4, 6] = 1
    picture[2] = 1
    for masks in (BitMasks(picture), RLEMasks.from_tensor(picture)):
        boxes = masks.get_bounding_boxes().tensor
        assert boxes.tolist() == [[6, 4, 7, 5], [0, 0, 0, 0], [0, 0, 9, 7]]
        assert masks.nonempty().tolist() == [True, False, True]
        assert masks.area().tolist() == [1, 0, 63]
    assert BitMasks(picture).get_centers().tolist() == [[6.5, 4.5], [0, 0], [4.5, 3.5]]


@pytest.mark.parametrize("seed", [0, 1])
def test_bit_masks_and_run_lengths_agree(seed: int) -> None:
    pictures = _random_masks(seed)
    bits, runs = BitMasks(pictures), RLEMasks.from_tensor(pictures)
    assert torch.equal(runs.to_tensor(), pictures)
    assert torch.equal(runs.area(), bits.area())
    assert torch.equal(runs.get_bounding_boxes().tensor, bits.get_bounding_boxes().tensor)
    keep = torch.tensor([True, False, True, True, False, False])
    assert torch.equal(runs[keep].to_tensor(), bits[keep].tensor)
    assert torch.equal(RLEMasks.cat([runs[:2], runs[2:]]).to_tensor(), pictures)
    assert torch.equal(BitMasks.cat([bits[0], bits[1:]]).tensor, pictures)
    assert [rle["size"] for rle in runs] == [[23, 31]] * 6
    assert runs.to("cuda") is runs


def test_no_masks_and_wrong_masks() -> None:
    nothing = RLEMasks([], (4, 5))
    assert nothing.to_tensor().shape == (0, 4, 5)
    assert nothing.area().shape == (0,)
    assert nothing.get_bounding_boxes().tensor.shape == (0, 4)
    with pytest.raises(ValueError, match="Mask 0 is of size"):
        RLEMasks(RLEMasks.from_tensor(torch.ones(1, 2, 2)).rles, (3, 3))
    with pytest.raises(ValueError, match=r"shape \(N, H, W\)"):
        BitMasks(torch.zeros(3, 3))
    for kind in (BitMasks, RLEMasks, PolygonMasks):
        with pytest.raises(ValueError, match="at least one"):
            kind.cat([])
