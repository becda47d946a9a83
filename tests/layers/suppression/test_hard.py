"""Suppression of padded batches equals torchvision's, image by image."""

from __future__ import annotations

import pytest
import torch
from torchvision.ops import batched_nms as torchvision_batched_nms

from cardamage.layers import batched_nms, nms_keep_mask


def _batch(rows: int, count: int, groups: int, seed: int) -> tuple[torch.Tensor, ...]:
    generator = torch.Generator().manual_seed(seed)
    corners = torch.rand(rows, count, 2, generator=generator) * 60
    sides = torch.rand(rows, count, 2, generator=generator) * 40
    boxes = torch.cat((corners, corners + sides), dim=2)
    if seed % 2:
        boxes = boxes.round()
    scores = (torch.rand(rows, count, generator=generator) * 50).round() / 50
    idxs = torch.randint(groups, (rows, count), generator=generator)
    return boxes, scores, idxs, torch.rand(rows, count, generator=generator) < 0.8


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(("rows", "count", "groups"), [(3, 200, 5), (1, 1, 1), (2, 1300, 80), (4, 50, 1)])
def test_equals_each_image_by_itself(rows: int, count: int, groups: int, seed: int) -> None:
    boxes, scores, idxs, valid = _batch(rows, count, groups, seed)
    keep = nms_keep_mask(boxes, scores, idxs, valid, 0.5)
    assert not (keep & ~valid).any()
    for row in range(rows):
        index = valid[row].nonzero().squeeze(1)
        kept = torchvision_batched_nms(boxes[row, index], scores[row, index], idxs[row, index], 0.5)
        assert keep[row].nonzero().squeeze(1).tolist() == sorted(index[kept].tolist())


def test_edges() -> None:
    nothing = nms_keep_mask(*_batch(0, 5, 1, 0), 0.5)
    assert nothing.shape == (0, 5)
    assert nms_keep_mask(*_batch(2, 0, 1, 0), 0.5).shape == (2, 0)
    boxes, scores, idxs, valid = _batch(2, 5, 1, 0)
    assert not nms_keep_mask(boxes, scores, idxs, torch.zeros_like(valid), 0.5).any()


def test_half_precision_is_compared_in_float32() -> None:
    boxes = torch.tensor([[0, 0, 1000, 1000], [0, 0, 1000, 1000]], dtype=torch.float16)
    kept = batched_nms(boxes, torch.tensor([0.5, 0.9]), torch.tensor([79, 79]), 0.5)
    assert kept.tolist() == [1]


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16])
def test_scores_of_any_precision(dtype: torch.dtype) -> None:
    boxes = torch.tensor([[0, 0, 10, 10], [0, 0, 10, 9], [20, 20, 30, 30]], dtype=dtype)
    kept = batched_nms(
        boxes, torch.tensor([0.25, 0.75, 0.5], dtype=dtype), torch.zeros(3, dtype=torch.int64), 0.5
    )
    assert kept.tolist() == [1, 2]
