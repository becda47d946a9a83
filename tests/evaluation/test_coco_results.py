"""Detections written in COCO's result format."""

from __future__ import annotations

import numpy as np
import pycocotools.mask as mask_util
import pytest
import torch

from cardamage.evaluation import instances_to_coco_json
from cardamage.structures import Boxes, Instances, RLEMasks


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("kind", ["none", "bool", "uint8", "rle"])
def test_records(kind: str, seed: int) -> None:
    torch.manual_seed(seed)
    masks = torch.rand(4, 30, 40) > 0.7
    masks[0] = False
    masks[1] = False
    masks[1, 3, 5] = True
    boxes = torch.rand(4, 4) * 20 + torch.tensor([0, 0, 20, 20])
    instances = Instances((30, 40), pred_boxes=Boxes(boxes.clone()), scores=torch.rand(4))
    instances.pred_classes = torch.tensor([0, 2, 1, 1])
    if kind != "none":
        rles = RLEMasks.from_tensor(masks)
        instances.pred_masks = {"bool": masks, "uint8": masks.to(torch.uint8), "rle": rles}[kind]
    records = instances_to_coco_json(instances, "photo 1")
    for i, record in enumerate(records):
        assert (record["image_id"], record["category_id"]) == ("photo 1", instances.pred_classes[i])
        assert record["score"] == float(instances.scores[i])
        x0, y0, x1, y1 = boxes[i].tolist()
        assert record["bbox"] == pytest.approx([x0, y0, x1 - x0, y1 - y0], abs=1e-5)
        assert ("segmentation" in record) == (kind != "none")
        if kind != "none":
            assert isinstance(record["segmentation"]["counts"], str)
            np.testing.assert_array_equal(mask_util.decode(record["segmentation"]), masks[i])
    torch.testing.assert_close(instances.pred_boxes.tensor, boxes, rtol=0, atol=0)


def test_nothing_found() -> None:
    empty = Instances((30, 40), pred_boxes=Boxes(torch.zeros(0, 4)), scores=torch.zeros(0))
    empty.pred_classes = torch.zeros(0, dtype=torch.int64)
    empty.pred_masks = torch.zeros(0, 30, 40, dtype=torch.bool)
    assert instances_to_coco_json(empty, 1) == []
