"""A batch copied ahead trains a model without a look at a value: fake tensors have none."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch
from torch import nn
from torch._subclasses import FakeTensorMode

from cardamage.data import build_detection_train_loader
from cardamage.data.loading.parcel import Parcel, pack_masks
from cardamage.engine import SimpleTrainer
from cardamage.modeling.batch import RoiRows, TargetBatch
from cardamage.modeling.roi_heads.mask_targets import crop_targets
from cardamage.structures import BitMasks, Boxes, ImageList, Instances, PolygonMasks

OUTLINE = [[[1.0, 1, 9, 1, 9, 8]], [[2.0, 2, 5, 2, 5, 5], [0.0, 0, 3, 0, 3, 3, 0, 3]]]


class Looks(nn.Module):
    """Notes where its pictures are."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))
        self.seen: list[str] = []

    def forward(self, batch: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
        self.seen += [sample["image"].device.type for sample in batch]
        return {"loss": self.weight.sum()}


def read(record: dict[str, Any]) -> dict[str, Any]:
    return {**record, "image": torch.ones(3, 2, 2)}


@pytest.mark.parametrize("ours", [True, False])
def test_the_trainer_asks_its_loader(ours: bool) -> None:
    records = [{"file_name": str(n), "width": 2, "height": 1} for n in range(7)]
    loader: Any = build_detection_train_loader(records, mapper=read, total_batch_size=2, seed=0)
    model = Looks()
    batches = loader if ours else itertools.cycle([next(iter(loader))])
    trainer = SimpleTrainer(model, batches, torch.optim.SGD(model.parameters(), lr=0.1))
    trainer.prefetch_device = torch.device("meta")
    trainer.train(0, 2)
    assert model.seen == ["meta" if ours else "cpu"] * 4


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
