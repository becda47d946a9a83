"""A batch copied ahead trains a model without a look at a value: fake tensors have none."""

from __future__ import annotations

import pytest
import torch
from torch._subclasses import FakeTensorMode

from cardamage.data.parcel import Parcel, pack_masks
from cardamage.modeling.batch import RoiRows, TargetBatch
from cardamage.modeling.roi_heads.mask_targets import crop_targets
from cardamage.structures import BitMasks, Boxes, ImageList, Instances, PolygonMasks

OUTLINE = [[[1.0, 1, 9, 1, 9, 8]], [[2.0, 2, 5, 2, 5, 5], [0.0, 0, 3, 0, 3, 3, 0, 3]]]


@pytest.mark.parametrize("bitmasks", [False, True])
def test_on_its_way_to_a_gpu(bitmasks: bool) -> None:
    masks = [PolygonMasks(OUTLINE[:count]) for count in (2, 1)]
    kept = [BitMasks.from_polygon_masks(one, 10, 12) for one in masks] if bitmasks else masks
    samples = [
        {
            "image": torch.zeros(3, 10, 12, dtype=torch.uint8),
            "instances": Instances(
                (10, 12),
                gt_boxes=Boxes(torch.ones(len(one), 4)),
                gt_classes=torch.zeros(len(one)),
                gt_masks=one,
            ),
        }
        for one in kept
    ]
    parcel = Parcel.pack(pack_masks(samples))
    device = torch.device("cuda")
    with FakeTensorMode() as mode:
        parcel.buffer = mode.from_tensor(parcel.buffer)
        parcel.send(device)
        batch = parcel.unpack()
        images = ImageList.from_tensors([sample["image"] for sample in batch], 32).tensor
        assert (images.device.type, images.shape) == ("cuda", (2, 3, 32, 32))
        targets = TargetBatch.of([sample["instances"] for sample in batch], device)
        index = torch.zeros(5, dtype=torch.int64, device=device)
        rows = RoiRows(torch.rand(5, 4, device=device), index, index == 0, gt_index=index)
        crops = crop_targets(rows, targets, 28)
    assert (crops.device.type, crops.shape) == ("cuda", (5, 28, 28))
