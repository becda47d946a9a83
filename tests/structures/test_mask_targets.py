"""Mask targets of polygons, bitmaps and boxes, worked out anew in float64 and by pycocotools itself."""

from __future__ import annotations

import math

import numpy as np
import pycocotools.mask as mask_util
import pytest
import torch
from torch.nn import functional as F

from cardamage.layers import pack_polygons, rasterize_polygons_in_boxes
from cardamage.structures import BitMasks, Boxes, PolygonMasks, ROIMasks


def _boxes(rng: np.random.Generator, count: int) -> torch.Tensor:
    """Draw boxes in, across and outside a picture of some 60 pixels: any, whole, and thin ones."""
    corners = rng.uniform(-30, 70, (count, 2))
    sides = rng.choice([rng.uniform(0, 60, (count, 2)), rng.uniform(0, 0.2, (count, 2))])
    boxes = np.concatenate((corners, corners + sides), axis=1)
    return torch.from_numpy(boxes.round() if rng.random() < 0.3 else boxes).float()


def _coco(polygons: list[np.ndarray], box: list[float], size: int) -> np.ndarray:
    """Draw polygons in a box with pycocotools; the scale is a float32, as that of Detectron2."""
    x0, y0, x1, y1 = box
    scale = [float(np.float32(size / max(np.float32(side), 0.1))) for side in (x1 - x0, y1 - y0)]
    moved = [((p.reshape(-1, 2) - (x0, y0)) * scale).reshape(-1).tolist() for p in polygons]
    return mask_util.decode(mask_util.merge(mask_util.frPyObjects(moved, size, size)))


@pytest.mark.parametrize("size", [1, 7, 28, 56])
@pytest.mark.parametrize("seed", range(4))
def test_polygons_in_boxes_are_pycocotools(seed: int, size: int) -> None:
    rng = np.random.default_rng(100 * seed + size)
    polygons = [
        [rng.uniform(-20, 80, (rng.integers(3, 9), 2)).reshape(-1) for _ in range(rng.integers(1, 4))]
        for _ in range(15)
    ]
    masks, boxes = PolygonMasks(polygons), _boxes(rng, 15)
    found = masks.crop_and_resize(boxes, size)
    on_device = rasterize_polygons_in_boxes(pack_polygons([masks]), torch.arange(15), boxes, size)
    assert torch.equal(found, on_device)
    for instance, box, mask in zip(polygons, boxes.tolist(), found, strict=True):
        assert np.array_equal(mask.numpy(), _coco(instance, box, size))


def test_a_target_covers_what_the_polygon_covers() -> None:
    """The share of cells inside is the share of the box that a convex polygon covers, by the shoelace."""
    rng = np.random.default_rng(3)
    angles = np.sort(rng.uniform(0, 2 * math.pi, (20, 8)), axis=1)
    polygons = [(50 + 30 * np.stack((np.cos(a), np.sin(a)), axis=1)).reshape(-1) for a in angles]
    masks = PolygonMasks([[p] for p in polygons])
    boxes = torch.tensor([[15.0, 15.0, 85.0, 85.0]]).expand(20, 4)
    share = masks.crop_and_resize(boxes, 280).double().mean(dim=(1, 2))
    torch.testing.assert_close(share, masks.area() / 70**2, atol=0.005, rtol=0)


def _roi_align(picture: np.ndarray, box: list[float], size: int) -> np.ndarray:
    """ROIAlign as the paper has it, in float64: the mean of bilinear samples on a grid in every cell."""
    height, width = picture.shape
    x0, y0, x1, y1 = (v - 0.5 for v in box)
    cell_w, cell_h = (x1 - x0) / size, (y1 - y0) / size
    columns, rows = math.ceil(cell_w), math.ceil(cell_h)
    out = np.zeros((size, size))
    for i, j in np.ndindex(size, size):
        for r, c in np.ndindex(rows, columns):
            y, x = y0 + (i + (r + 0.5) / rows) * cell_h, x0 + (j + (c + 0.5) / columns) * cell_w
            if -1 <= y <= height and -1 <= x <= width:
                y, x = min(max(y, 0), height - 1), min(max(x, 0), width - 1)
                top, left = min(int(y), max(height - 2, 0)), min(int(x), max(width - 2, 0))
                down, right = min(top + 1, height - 1), min(left + 1, width - 1)
                upper = picture[top, left] * (1 - x + left) + picture[top, right] * (x - left)
                lower = picture[down, left] * (1 - x + left) + picture[down, right] * (x - left)
                out[i, j] += upper * (1 - y + top) + lower * (y - top)
    return out / max(rows * columns, 1)


@pytest.mark.parametrize("seed", range(4))
def test_bitmaps_in_boxes_are_roi_aligned(seed: int) -> None:
    rng = np.random.default_rng(seed)
    height, width = rng.integers(1, 60, 2)
    pictures = rng.random((8, height, width)) < rng.random((8, 1, 1))
    boxes = _boxes(rng, 8)
    found = BitMasks(pictures).crop_and_resize(boxes, 7)
    for picture, box, mask in zip(pictures, boxes.tolist(), found.numpy(), strict=True):
        values = _roi_align(picture.astype(float), box, 7)
        sure = np.abs(values - 0.5) > 1e-4
        assert np.array_equal(mask[sure], values[sure] >= 0.5)
        assert sure.mean() > 0.5 or not picture.any()


def test_a_box_outside_the_picture_has_an_empty_target() -> None:
    full = BitMasks(torch.ones(2, 20, 30))
    outside = torch.tensor([[40.0, 3, 60, 9], [-30, -30, -5, -5]])
    assert not full.crop_and_resize(outside, 14).any()
    polygons = PolygonMasks([[[0, 0, 30, 0, 30, 20, 0, 20]]] * 2)
    assert not polygons.crop_and_resize(outside, 14).any()


def test_one_pixel_fills_the_box_around_it() -> None:
    picture = torch.zeros(1, 5, 6)
    picture[0, 2, 3] = 1
    box = torch.tensor([[3.0, 2.0, 4.0, 3.0]])
    polygon = PolygonMasks([[[3, 2, 4, 2, 4, 3, 3, 3]]])
    assert polygon.crop_and_resize(box, 28).all()
    centre = BitMasks(picture).crop_and_resize(box, 1)
    assert centre.tolist() == [[[True]]]


@pytest.mark.parametrize("threshold", [0.5, 0.3])
def test_roi_masks_become_bitmaps(threshold: float) -> None:
    values = torch.rand(6, 14, 14, generator=torch.Generator().manual_seed(0))
    boxes = torch.tensor([[4.0, 6.0, 32.0, 34.0]]).expand(6, 4)
    bits = ROIMasks(values).to_bitmasks(Boxes(boxes), 40, 50, threshold)
    # The box is twice as large as the mask: it is a plain enlargement, but for the outermost cells.
    large = F.interpolate(values[None], scale_factor=2, mode="bilinear", align_corners=False)[0]
    inner = slice(1, -1)
    expected = large[:, inner, inner]
    found = bits.tensor[:, 6:34, 4:32][:, inner, inner]
    sure = (expected - threshold).abs() > 1e-5
    assert torch.equal(found[sure], expected[sure] >= threshold)
    assert bits.tensor.shape == (6, 40, 50)
    outside = bits.tensor.clone()
    outside[:, 5:35, 3:33] = False
    assert not outside.any()


def test_roi_masks_index_move_and_refuse() -> None:
    masks = ROIMasks(torch.rand(3, 7, 7))
    assert len(masks) == 3
    assert len(masks[torch.tensor([True, False, True])]) == 2
    assert torch.equal(masks[1:].to("cpu").tensor, masks.tensor[1:])
    assert masks.device == torch.device("cpu")
    assert "num_instances=3" in repr(masks)
    assert ROIMasks(torch.rand(0, 28, 28)).to_bitmasks(Boxes([]), 4, 5).tensor.shape == (0, 4, 5)
    with pytest.raises(ValueError, match=r"shape \(N, M, M\), got shape \(7, 7\)"):
        ROIMasks(torch.rand(7, 7))
    with pytest.raises(ValueError, match=r"give shape \(7, 7\)"):
        masks[0]
