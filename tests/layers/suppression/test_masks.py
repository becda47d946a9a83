"""Overlaps of masks against pycocotools on pasted masks, and suppression by them against a plain loop."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from pycocotools import mask as coco

from cardamage.layers import paste_masks_in_image
from cardamage.layers.suppression import mask_keep, mask_overlaps
from cardamage.layers.suppression import masks as masks_module

SEED = random.randrange(10**6)
# Names of tests must be the same in all processes that run them.
FRESH = pytest.param(SEED, id="fresh")
SIZE = (400, 500)


def _detections(count: int, seed: int, cells: int = 28) -> tuple[torch.Tensor, torch.Tensor]:
    """Smooth blobs in boxes of all shapes that share much, thin ones among them."""
    generator = torch.Generator().manual_seed(seed)
    rough = torch.rand(2, count, 5, 5, generator=generator) + 0.15
    masks = F.interpolate(rough, (cells, cells), mode="bicubic").clamp(0, 1)
    # Around four objects, each several times.
    known = torch.arange(count) % 4
    centres = (torch.rand(2, 4, 2, generator=generator) * 200 + 100)[:, known]
    sides = torch.exp(torch.rand(2, 4, 2, generator=generator) * 3 + 2)[:, known]
    centres = centres + torch.randn(2, count, 2, generator=generator) * sides * 0.1
    sides = sides * torch.exp(torch.randn(2, count, 2, generator=generator) * 0.2)
    boxes = torch.cat((centres - sides / 2, centres + sides / 2), dim=2)
    return masks, torch.minimum(boxes.clamp(min=0), torch.tensor([500.0, 400, 500, 400]))


def _pasted_iou(masks: torch.Tensor, boxes: torch.Tensor) -> np.ndarray:
    # Four times as fine as the picture, so that its pixels don't count.
    height, width = SIZE
    pasted = paste_masks_in_image(masks, boxes * 4, (height * 4, width * 4)).numpy().astype(np.uint8)
    rles = [coco.encode(np.asfortranarray(one)) for one in pasted]
    return np.asarray(coco.iou(rles, rles, [0] * len(rles)))


@pytest.mark.parametrize("seed", [0, FRESH])
@pytest.mark.parametrize("cells", [14, 28, 56])
@pytest.mark.parametrize("numbers", [1, 2**22])
def test_overlaps_are_those_of_pasted_masks(
    seed: int, cells: int, numbers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(masks_module._MAX_NUMBERS, "cpu", numbers)
    masks, boxes = _detections(16, seed, cells)
    every = torch.ones(2, 16, 16, dtype=torch.bool)
    found = mask_overlaps(masks, boxes, every)
    off = ~torch.eye(16, dtype=torch.bool)
    for image in range(2):
        expected = torch.from_numpy(_pasted_iou(masks[image], boxes[image])).float()
        difference = (found[image] - expected)[off].abs()
        assert expected[off].max() > 0.3
        assert difference.max() < 0.03
        assert difference.mean() < 0.006
    assert torch.equal(found, found.mT)
    assert not found.diagonal(dim1=1, dim2=2).any()


def test_pairs_that_do_not_count_are_zero_and_equal_masks_are_one() -> None:
    masks, boxes = _detections(4, 1)
    masks, boxes = masks[:, [0, 0, 1, 1]], boxes[:, [0, 0, 1, 1]]
    compared = torch.zeros(2, 4, 4, dtype=torch.bool)
    compared[0, 0, 1] = compared[0, 1, 0] = True
    found = mask_overlaps(masks, boxes, compared)
    expected = torch.zeros(2, 4, 4)
    expected[0, 0, 1] = expected[0, 1, 0] = 1
    torch.testing.assert_close(found, expected)


def test_crossing_scratches_stay() -> None:
    """Both diagonals of one box: the boxes are equal, the masks share little."""
    diagonal = torch.eye(28)
    for step in (1, 2):
        diagonal += torch.eye(28).roll(step, 0).tril() + torch.eye(28).roll(-step, 0).triu()
    masks = torch.stack((diagonal, diagonal.flip(0), diagonal)).clamp(max=1)[None]
    boxes = torch.tensor([10.0, 20, 210, 220]).expand(1, 3, 4)
    scores, alive = torch.tensor([[0.9, 0.8, 0.7]]), torch.ones(1, 3, dtype=torch.bool)
    same = torch.zeros(1, 3, dtype=torch.int64)
    assert mask_keep(masks, boxes, scores, same, alive, 0.5).tolist() == [[True, True, False]]
    assert mask_keep(masks, boxes, scores, same, alive, 0.5, most=1).tolist() == [[True, False, False]]
    others = torch.tensor([[0, 0, 1]])
    assert mask_keep(masks, boxes, scores, others, alive, 0.5).all()


@pytest.mark.parametrize("seed", [0, FRESH])
@pytest.mark.parametrize("most", [-1, 0, 5])
def test_what_stays_equals_a_plain_loop(seed: int, most: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    masks, boxes = _detections(30, seed)
    scores = torch.randint(10, (2, 30), generator=generator).float()
    groups = torch.randint(2, (2, 30), generator=generator)
    alive = torch.rand(2, 30, generator=generator) < 0.8
    keep = mask_keep(masks, boxes, scores, groups, alive, 0.15, most)
    overlap = mask_overlaps(masks, boxes, torch.ones(2, 30, 30, dtype=torch.bool))
    for image in range(2):
        kept: list[int] = []
        for place in sorted(alive[image].nonzero()[:, 0].tolist(), key=lambda p: (-scores[image, p], p)):
            others = [other for other in kept if groups[image, other] == groups[image, place]]
            if all(overlap[image, place, other] <= 0.15 for other in others):
                kept.append(place)
        expected = kept if most < 0 else kept[:most]
        assert keep[image].nonzero()[:, 0].tolist() == sorted(expected)


def test_a_gpu_compares_all_pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nothing may be asked of the device, pairs apart are compared, too, with nothing in common."""
    masks, boxes = _detections(12, SEED)
    every = torch.ones(2, 12, 12, dtype=torch.bool)
    expected = mask_overlaps(masks, boxes, every)

    def all_pairs(boxes: torch.Tensor, compared: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        one, other = torch.tril_indices(12, 12, -1)
        return torch.cat((one, one + 12)), torch.cat((other, other + 12))

    monkeypatch.setattr(masks_module, "_pairs", all_pairs)
    torch.testing.assert_close(mask_overlaps(masks, boxes, every), expected)


def test_edges() -> None:
    for n, size in ((0, 3), (2, 0), (1, 1)):
        masks, boxes = torch.ones(n, size, 28, 28), torch.zeros(n, size, 4)
        alive, groups = torch.ones(n, size, dtype=torch.bool), torch.zeros(n, size, dtype=torch.int64)
        assert mask_keep(masks, boxes, torch.ones(n, size), groups, alive, 0.5).sum() == n * size
    masks, boxes = torch.ones(1, 2, 28, 28).bfloat16(), torch.tensor([[[0.0, 0, 8, 8]] * 2])
    with torch.autocast("cpu", torch.bfloat16):
        found = mask_overlaps(masks, boxes, torch.ones(1, 2, 2, dtype=torch.bool))
    assert found.dtype == torch.float32
    assert found[0, 0, 1] == 1
