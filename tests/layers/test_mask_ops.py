"""Pasted masks equal grid_sample's, and their run lengths pycocotools'."""

from __future__ import annotations

import math

import numpy as np
import pycocotools.mask as mask_util
import pytest
import torch
from torch.nn import functional as F

from cardamage.layers import encode_pasted_masks, mask_ops, mask_sampling, paste_masks_in_image
from cardamage.structures import Boxes


def _reference(
    masks: torch.Tensor, boxes: torch.Tensor, height: int, width: int, threshold: float
) -> torch.Tensor:
    """Sample every mask over the pixels in or next to its box with grid_sample."""
    image = torch.zeros(len(masks), height, width, dtype=torch.bool)
    for number, (x0, y0, x1, y1) in enumerate(boxes):
        rows = torch.arange(height)[max(int(y0.floor()) - 1, 0) : max(int(y1.ceil()) + 1, 0)]
        columns = torch.arange(width)[max(int(x0.floor()) - 1, 0) : max(int(x1.ceil()) + 1, 0)]
        if len(rows) == 0 or len(columns) == 0:
            continue
        y, x = (rows + 0.5 - y0) / (y1 - y0) * 2 - 1, (columns + 0.5 - x0) / (x1 - x0) * 2 - 1
        grid = torch.stack(torch.broadcast_tensors(x[None, :], y[:, None]), dim=-1)[None]
        values = F.grid_sample(masks[number][None, None], grid, align_corners=False)[0, 0]
        image[number, rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1] = values >= threshold
    return image


def _paste_by_hand(mask: np.ndarray, box: list[float], height: int, width: int) -> np.ndarray:
    """Paste one mask in float64: each pixel's centre, between the centres of cells, zero beyond them."""
    cells = len(mask)
    padded = np.pad(mask.astype(np.float64), 1)
    picture = np.zeros((height, width))
    x0, y0, x1, y1 = box
    for row, column in np.ndindex(height, width):
        y = (row + 0.5 - y0) / (y1 - y0) * cells + 0.5
        x = (column + 0.5 - x0) / (x1 - x0) * cells + 0.5
        if 0 <= y <= cells + 1 and 0 <= x <= cells + 1:
            top, left = min(int(y), cells), min(int(x), cells)
            upper = padded[top, left] * (1 - x + left) + padded[top, left + 1] * (x - left)
            lower = padded[top + 1, left] * (1 - x + left) + padded[top + 1, left + 1] * (x - left)
            picture[row, column] = upper * (1 - y + top) + lower * (y - top)
    return picture


@pytest.mark.parametrize("seed", range(10))
def test_paste_equals_a_loop_in_float64(seed: int) -> None:
    masks, boxes, (height, width) = _case(seed)
    height, width = min(height, 60), min(width, 50)
    boxes = boxes[(boxes[:, 2:] - boxes[:, :2] > 0.5).all(dim=1)][:4]
    # Farther than a pixel from the box nothing is drawn, as in Detectron2; a cell can be larger than that.
    near_x, near_y = (boxes[:, i::2] + torch.tensor([-1.0, 1.0]) for i in (0, 1))
    pasted = paste_masks_in_image(masks[: len(boxes)], boxes, (height, width)).numpy()
    grey = paste_masks_in_image(masks[: len(boxes)], boxes, (height, width), -1).numpy()
    for i, box in enumerate(boxes.tolist()):
        values = _paste_by_hand(masks[i].numpy(), box, height, width)
        y, x = np.ogrid[:height, :width]
        values *= (y >= math.floor(near_y[i, 0])) & (y < math.ceil(near_y[i, 1]))
        values *= (x >= math.floor(near_x[i, 0])) & (x < math.ceil(near_x[i, 1]))
        sure = np.abs(values - 0.5) > 1e-4
        assert sure.any()
        assert np.array_equal(pasted[i][sure], values[sure] >= 0.5)
        assert np.abs(grey[i] - values * 255).max() <= 1.01


def test_one_pixel_and_one_cell() -> None:
    one = torch.ones(1, 1, 1)
    for box in ([3.0, 2, 4, 3], [3.2, 2.2, 3.9, 2.9]):
        pasted = paste_masks_in_image(one, torch.tensor([box]), (5, 6))
        assert pasted.nonzero().tolist() == [[0, 2, 3]]
    assert paste_masks_in_image(one, torch.tensor([[0.0, 0, 1, 1]]), (1, 1)).all()
    # A single cell fades out to zero half a cell beyond its edges: at the threshold on the edge itself.
    assert paste_masks_in_image(one, torch.tensor([[2.0, 2, 6, 6]]), (9, 9)).sum() == 12


def _case(seed: int) -> tuple[torch.Tensor, torch.Tensor, tuple[int, int]]:
    generator = torch.Generator().manual_seed(seed)
    height, width = torch.randint(10, 150, (2,), generator=generator).tolist()
    cells = (28, 28, 14, 7, 1)[seed % 5]
    masks = torch.rand(12, cells, cells, generator=generator)
    if seed % 2:
        masks = masks.round()
    size = torch.tensor([width, height])
    corners = torch.rand(12, 2, generator=generator) * size * 1.2 - 10
    boxes = torch.cat((corners, corners + torch.rand(12, 2, generator=generator) * size), dim=1)
    return masks, boxes.round() if seed % 3 == 0 else boxes, (height, width)


def _encode(pictures: torch.Tensor) -> list[dict[str, object]]:
    return [mask_util.encode(np.asfortranarray(picture.numpy(), dtype=np.uint8)) for picture in pictures]


@pytest.mark.parametrize("threshold", [0.5, 0.3])
@pytest.mark.parametrize("seed", range(15))
def test_paste_and_encode(seed: int, threshold: float) -> None:
    masks, boxes, shape = _case(seed)
    pasted = paste_masks_in_image(masks, Boxes(boxes), shape, threshold)
    assert torch.equal(pasted, _reference(masks, boxes, *shape, threshold))
    encoded = encode_pasted_masks(masks, boxes, shape, threshold)
    assert encoded.rles == _encode(pasted)


@pytest.mark.parametrize("seed", range(6))
def test_many_at_once_equal_one_by_one(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The path for GPUs runs on any device; its values may differ where rounding decides."""
    masks, boxes, shape = _case(2 * seed)
    monkeypatch.setattr(mask_ops, "_MAX_PIXELS", 5 * shape[0] * shape[1])
    values = torch.cat([values for _, values in mask_ops._batches(masks, boxes, *shape)])
    inside = values >= 0.5
    expected = paste_masks_in_image(masks, boxes, shape).transpose(1, 2)
    assert not ((inside != expected) & ((values - 0.5).abs() > 1e-5)).any()
    changes = mask_ops.positions_of_changes(inside)
    assert mask_ops.encode_positions(changes, [shape] * len(masks)) == _encode(inside.transpose(1, 2))


def test_columns_may_be_sampled_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    masks, boxes, shape = _case(4)
    whole = encode_pasted_masks(masks, boxes, shape)
    monkeypatch.setattr(mask_sampling, "_CHUNK_PIXELS", 100)
    assert encode_pasted_masks(masks, boxes, shape).rles == whole.rles


def test_runs_join_across_columns() -> None:
    full = torch.ones(1, 28, 28)
    shape = (9, 11)
    for box in ([-50.0, -50, 60, 60], [3, -50, 60, 60], [-50, -50, 4, 60]):
        encoded = encode_pasted_masks(full, torch.tensor([box]), shape)
        assert encoded.rles == _encode(paste_masks_in_image(full, torch.tensor([box]), shape))


@pytest.mark.parametrize(
    "box", [[5.0, 5, 5, 9], [50, 50, 60, 60], [-9, -9, -3, -3], [float("nan")] * 4, [3, 3, 1, 1]]
)
def test_boxes_without_pixels_give_empty_masks(box: list[float]) -> None:
    masks, boxes = torch.ones(1, 28, 28), torch.tensor([box])
    assert not paste_masks_in_image(masks, boxes, (20, 20)).any()
    assert encode_pasted_masks(masks, boxes, (20, 20)).area().tolist() == [0]


def test_no_masks_grey_values_and_errors() -> None:
    nothing = torch.zeros(0, 28, 28)
    assert paste_masks_in_image(nothing, torch.zeros(0, 4), (4, 5)).shape == (0, 4, 5)
    assert len(encode_pasted_masks(nothing, torch.zeros(0, 4), (4, 5))) == 0
    grey = paste_masks_in_image(torch.full((1, 4, 4), 0.5), torch.tensor([[0.0, 0, 8, 8]]), (8, 8), -1)
    assert grey.dtype == torch.uint8
    assert grey[0, 4, 4] == 127
    with pytest.raises(ValueError, match=r"shape \(R, M, M\)"):
        paste_masks_in_image(torch.zeros(1, 2, 3), torch.zeros(1, 4), (4, 4))
    with pytest.raises(ValueError, match="got 1 masks and 2 boxes"):
        encode_pasted_masks(torch.zeros(1, 2, 2), torch.zeros(2, 4), (4, 4))
    with pytest.raises(ValueError, match="threshold from 0"):
        encode_pasted_masks(torch.zeros(1, 2, 2), torch.zeros(1, 4), (4, 4), -1)
