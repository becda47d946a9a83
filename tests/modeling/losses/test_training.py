"""Each loss of the heads trains: some steps on one picture, whose loss falls, then sound detections."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from cardamage.catalog import MetadataCatalog
from cardamage.layers import ShapeSpec
from cardamage.modeling import build_roi_heads
from cardamage.modeling.batch import force_fixed_shapes
from cardamage.structures import Boxes, Instances
from cardamage.utils.events import EventStorage

Make = Callable[..., Any]

HEADS: dict[str, dict[str, Any]] = {
    "standard": {},
    "cascade": {
        "MODEL.ROI_HEADS.NAME": "CascadeROIHeads",
        "MODEL.ROI_BOX_HEAD.CLS_AGNOSTIC_BBOX_REG": True,
    },
    "c4": {
        "MODEL.ROI_HEADS.NAME": "Res5ROIHeads",
        "MODEL.ROI_HEADS.IN_FEATURES": ["res4"],
        "MODEL.RESNETS.RES2_OUT_CHANNELS": 4,
        "MODEL.RESNETS.WIDTH_PER_GROUP": 4,
        "MODEL.ROI_MASK_HEAD.NUM_CONV": 0,
    },
}
BOX, MASK = "MODEL.ROI_BOX_HEAD.", "MODEL.ROI_MASK_HEAD."
CASES: dict[str, dict[str, Any]] = {
    "smoothing_inverse": {
        BOX + "LABEL_SMOOTHING": 0.1,
        BOX + "CLASS_WEIGHTS": "inverse",
        BOX + "BBOX_REG_LOSS_TYPE": "l1",
    },
    "sigmoid_effective": {
        BOX + "USE_SIGMOID_CE": True,
        BOX + "CLASS_WEIGHTS": "effective",
        BOX + "BBOX_REG_LOSS_TYPE": "iou",
    },
    "focal": {BOX + "CLASS_LOSS": "focal", BOX + "PRIOR_PROB": 0.1, MASK + "LOSS": "dice"},
    "sigmoid_focal": {
        BOX + "CLASS_LOSS": "focal",
        BOX + "USE_SIGMOID_CE": True,
        MASK + "BOUNDARY_WEIGHT": 2.0,
    },
    "quality_focal": {
        BOX + "CLASS_LOSS": "quality_focal",
        MASK + "LOSS": "bce_dice",
        MASK + "BOUNDARY_WEIGHT": 1.0,
    },
    "seesaw": {BOX + "CLASS_LOSS": "seesaw", BOX + "BBOX_REG_LOSS_TYPE": "giou"},
    "equalization": {BOX + "CLASS_LOSS": "equalization", BOX + "BBOX_REG_LOSS_TYPE": "diou"},
    "distribution": {BOX + "BBOX_REG_BINS": 17, BOX + "BBOX_REG_LOSS_TYPE": "giou"},
    "distribution_quality": {
        BOX + "BBOX_REG_BINS": 8,
        BOX + "CLASS_LOSS": "quality_focal",
        BOX + "TRAIN_ON_PRED_BOXES": True,
    },
}
SIZE = (96, 128)


def _heads(tiny_cfg: Make, options: dict[str, Any]) -> tuple[torch.nn.Module, dict[str, torch.Tensor]]:
    """Heads, and feature maps of noise for them."""
    cfg = tiny_cfg(**{"DATASETS.TRAIN": ("_falling",), **options})
    channels = 16
    strides = {"res4": 16} if cfg.MODEL.ROI_HEADS.IN_FEATURES == ["res4"] else dict(p2=4, p3=8, p4=16, p5=32)
    shapes = {name: ShapeSpec(channels=channels, stride=s) for name, s in strides.items()}
    maps = {n: torch.randn(2, channels, SIZE[0] // s, SIZE[1] // s) for n, s in strides.items()}
    return build_roi_heads(cfg, shapes), maps


def _proposals(targets: list[Instances]) -> list[Instances]:
    """Around every object some boxes, and two anywhere."""
    found = []
    for target in targets:
        boxes = target.gt_boxes.tensor.repeat(6, 1)
        moved = boxes + torch.randn_like(boxes) * 2
        boxes = torch.cat([moved, torch.tensor([[0.0, 0, 20, 9], [50, 40, 60, 90]])])
        boxes[:, 2:] = torch.maximum(boxes[:, 2:], boxes[:, :2] + 2)
        found.append(Instances(SIZE, proposal_boxes=Boxes(boxes), objectness_logits=torch.zeros(len(boxes))))
    return found


@pytest.mark.parametrize("heads", list(HEADS))
@pytest.mark.parametrize("case", list(CASES))
def test_losses_fall(tiny_cfg: Make, sample: Make, fresh_seed: int, heads: str, case: str) -> None:
    MetadataCatalog.get("_falling").replace(class_instance_count=[100, 10, 1])
    torch.manual_seed(fresh_seed)
    model, features = _heads(tiny_cfg, {**HEADS[heads], **CASES[case]})
    targets = [sample(fresh_seed + i, count, SIZE)["instances"] for i, count in enumerate((3, 1))]
    proposals = _proposals(targets)
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
    totals: list[float] = []
    for step in range(10):
        # As on a GPU, and as on a CPU; in the middle in lower precision.
        autocast = torch.autocast("cpu", torch.bfloat16, enabled=step in (4, 5))
        with EventStorage(0), force_fixed_shapes(step % 2 == 0), autocast:
            _, losses = model(None, features, proposals, targets)
        total = torch.stack(list(losses.values())).sum()
        assert total.isfinite()
        totals.append(total.item())
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
    assert sum(totals[-2:]) < sum(totals[:2])
    with torch.no_grad():
        found, _ = model.eval()(None, features, proposals, None)
    for instances in found:
        assert ((instances.scores > 0) & (instances.scores <= 1)).all()
        assert instances.pred_boxes.tensor.isfinite().all()
