from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
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
