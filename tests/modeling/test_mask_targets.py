from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pycocotools.mask as mask_util
import pytest
import torch

from cardamage.modeling.batch import ProposalBatch, RoiRows, TargetBatch
from cardamage.modeling.roi_heads.mask_targets import crop_targets
from cardamage.structures import BitMasks, Boxes, Instances, PolygonMasks

Make = Callable[..., Any]


@pytest.mark.parametrize("bitmasks", [False, True])
@pytest.mark.parametrize("seed", range(3))
def test_crops_equal_those_of_each_image(sample: Make, bitmasks: bool, seed: int) -> None:
    sizes = [(96, 128), (64, 40), (50, 200)]
    targets = TargetBatch.of(
        [
            sample(seed + i, n, size, bitmasks=bitmasks)["instances"]
            for i, (n, size) in enumerate(zip((3, 0, 2), sizes, strict=True))
        ]
    )
    rng = np.random.default_rng(seed)
    image = torch.tensor([0, 0, 0, 2, 2, 1])
    gt_index = torch.tensor([2, 0, 2, 1, 0, 0])
    corner = torch.from_numpy(rng.uniform(0, 20, (6, 2))).float()
    boxes = torch.cat([corner, corner + torch.from_numpy(rng.uniform(1, 30, (6, 2))).float()], dim=1)
    valid = torch.tensor([True] * 5 + [False])
    rows = RoiRows(boxes, image, valid, gt_index=gt_index)
    found = crop_targets(rows, targets, 28)
    assert found.shape == (6, 28, 28)
    for row in range(5):
        masks = targets.instances[int(image[row])].gt_masks[gt_index[row : row + 1]]
        assert torch.equal(found[row], masks.crop_and_resize(boxes[row : row + 1], 28)[0])


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1)])
def test_masks_packed_by_the_loader_give_the_same(sample: Make, order: tuple[int, ...]) -> None:
    def batch() -> list[Instances]:
        return [sample(seed, n, (60, 60))["instances"] for seed, n in enumerate((3, 0, 2))]

    rows = RoiRows(
        torch.rand(4, 4) * 20 + torch.tensor([0.0, 0, 20, 20]),
        torch.tensor([0, 1, 2, 2]),
        torch.tensor([True, False, True, True]),
        gt_index=torch.tensor([2, 7, 1, 0]),
    )
    wanted = crop_targets(rows, TargetBatch.of(batch()), 14)
    packed = batch()
    PolygonMasks.pack_together([packed[i].gt_masks for i in order])
    found = crop_targets(rows, TargetBatch.of(packed), 14)
    assert torch.equal(found[rows.valid], wanted[rows.valid])
    assert wanted.any()
    assert packed[0].gt_masks.packed is not None  # used as they were
    apart = batch()
    for one in apart:
        PolygonMasks.pack_together([one.gt_masks])
    assert torch.equal(crop_targets(rows, TargetBatch.of(apart), 14)[rows.valid], wanted[rows.valid])


def test_polygons_are_drawn_as_pycocotools_draws_them() -> None:
    rng = np.random.default_rng(3)
    polygons = [rng.uniform(0, 60, 2 * n) for n in (3, 4, 9)]
    # A slit of a box, one of a pixel, one that misses the object, and random ones.
    corner = rng.uniform(0, 40, (8, 2))
    boxes = np.concatenate([corner, corner + rng.uniform(1, 30, (8, 2))], axis=1)
    boxes = np.concatenate([[[3, 3, 3.01, 50], [20, 20, 21, 21], [200, 200, 220, 230]], boxes])
    gt_index = rng.integers(0, 3, len(boxes))
    truth = Instances(
        (64, 64),
        gt_boxes=Boxes(torch.zeros(3, 4)),
        gt_classes=torch.zeros(3, dtype=torch.int64),
        gt_masks=PolygonMasks([[p] for p in polygons]),
    )
    rows = RoiRows(
        torch.from_numpy(boxes).float(),
        torch.zeros(len(boxes), dtype=torch.int64),
        torch.ones(len(boxes), dtype=torch.bool),
        gt_index=torch.from_numpy(gt_index),
    )
    found = crop_targets(rows, TargetBatch.of([truth]), 28)
    for mask, box, which in zip(found, rows.boxes.double().numpy(), gt_index, strict=True):
        size = np.maximum(box[2:] - box[:2], 0.1)
        moved = (polygons[which].reshape(-1, 2) - box[:2]) * (28 / size)
        drawn = mask_util.decode(mask_util.merge(mask_util.frPyObjects([moved.ravel().tolist()], 28, 28)))
        assert mask.numpy().tolist() == drawn.astype(bool).tolist()


def test_bitmaps_are_averaged_over_each_cell() -> None:
    rng = np.random.default_rng(4)
    bitmap = rng.random((20, 24)) < 0.5
    truth = Instances(
        (20, 24),
        gt_boxes=Boxes(torch.zeros(1, 4)),
        gt_classes=torch.zeros(1, dtype=torch.int64),
        gt_masks=BitMasks(torch.from_numpy(bitmap)[None]),
    )
    boxes = np.array([[2.0, 3, 22, 18], [0, 0, 24, 20], [5.5, 6.5, 9.25, 8.75]])
    count = len(boxes)
    rows = RoiRows(
        torch.from_numpy(boxes).float(),
        torch.zeros(count, dtype=torch.int64),
        torch.ones(count, dtype=torch.bool),
        gt_index=torch.zeros(count, dtype=torch.int64),
    )
    found = crop_targets(rows, TargetBatch.of([truth]), 6)
    for mask, box in zip(found, boxes, strict=True):
        expected = _cells(bitmap.astype(float), box, 6)
        certain = abs(expected - 0.5) > 1e-5
        assert certain.mean() > 0.8
        assert (mask.numpy() == (expected >= 0.5))[certain].all()


def _cells(image: np.ndarray, box: np.ndarray, size: int) -> np.ndarray:
    """ROIAlign by its definition: the mean of samples, each linear between pixel centers."""
    step = (box[2:] - box[:2]) / size
    per_cell = np.ceil(step).astype(int)
    result = np.zeros((size, size))
    for row in range(size):
        for column in range(size):
            values = [
                _between(
                    image,
                    box[1] + (row + (i + 0.5) / per_cell[1]) * step[1] - 0.5,
                    box[0] + (column + (j + 0.5) / per_cell[0]) * step[0] - 0.5,
                )
                for i in range(per_cell[1])
                for j in range(per_cell[0])
            ]
            result[row, column] = np.mean(values)
    return result


def _between(image: np.ndarray, y: float, x: float) -> float:
    y, x = np.clip(y, 0, image.shape[0] - 1), np.clip(x, 0, image.shape[1] - 1)
    top, left = int(y), int(x)
    bottom, right = min(top + 1, image.shape[0] - 1), min(left + 1, image.shape[1] - 1)
    above = image[top, left] * (1 - (x - left)) + image[top, right] * (x - left)
    below = image[bottom, left] * (1 - (x - left)) + image[bottom, right] * (x - left)
    return float(above * (1 - (y - top)) + below * (y - top))


def test_photos_with_bitmaps_and_with_polygons_share_a_batch(sample: Make) -> None:
    targets = TargetBatch.of(
        [sample(i, 2, (64, 80 - i), bitmasks=i == 1)["instances"] for i in range(3)]
        + [sample(9, 0)["instances"]]
    )
    image = torch.tensor([0, 0, 1, 1, 2, 2, 3])
    gt_index = torch.tensor([0, 1, 1, 0, 1, 0, 0])
    boxes = torch.tensor([[4.0, 5.0, 50.0, 40.0]]).expand(7, 4)
    rows = RoiRows(boxes, image, image < 3, gt_index=gt_index)
    found = crop_targets(rows, targets, 14)
    for row in range(6):
        target = targets.instances[int(image[row])]
        masks = target.gt_masks
        if isinstance(masks, PolygonMasks):
            masks = BitMasks.from_polygon_masks(masks, *target.image_size)
        expected = masks[gt_index[row : row + 1]].crop_and_resize(boxes[:1], 14)[0]
        assert torch.equal(found[row], expected)
        assert expected.any()


def test_batches_are_sequences_of_instances(sample: Make) -> None:
    truth = TargetBatch.of([sample(0, 2)["instances"], sample(1, 0)["instances"]])
    assert truth.boxes.shape == (2, 2, 4)
    assert truth.valid.tolist() == [[True, True], [False, False]]
    assert [len(t) for t in truth] == [2, 0]
    assert TargetBatch.of(truth) is truth
    proposals = ProposalBatch(
        boxes=torch.rand(2, 3, 4),
        valid=torch.tensor([[True, False, True], [False, True, False]]),
        image_sizes=[(96, 128)] * 2,
        gt_classes=torch.tensor([[1, -1, 3], [-1, 3, -1]]),
        gt_index=torch.tensor([[1, 0, 0], [0, 0, 0]]),
        targets=truth,
    )
    first, second = proposals
    assert first.gt_classes.tolist() == [1, 3]
    assert torch.equal(first.gt_boxes.tensor, truth.boxes[0, [1, 0]])
    assert len(first.gt_masks) == 2
    assert set(second.get_fields()) == {"proposal_boxes", "gt_classes"}
    values = torch.arange(3.0)
    assert proposals.spread(values).tolist() == [[0, 0, 1], [0, 2, 0]]


def test_lists_of_proposals_become_the_same_rows() -> None:
    lists = [
        Instances((9, 9), proposal_boxes=Boxes(torch.rand(n, 4)), gt_classes=torch.arange(n))
        for n in (2, 0, 3)
    ]
    rows = ProposalBatch.of(lists).rows()
    assert torch.equal(rows.boxes, torch.cat([x.proposal_boxes.tensor for x in lists]))
    assert rows.image.tolist() == [0, 0, 2, 2, 2]
    assert rows.gt_classes is not None
    assert rows.gt_classes.tolist() == [0, 1, 0, 1, 2]
