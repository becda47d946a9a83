"""A seed gives the run it gives in Detectron2: weights, samples and losses, recorded there on the CPU."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from cardamage.modeling import build_model
from cardamage.utils.events import EventStorage

Make = Callable[..., Any]
# Few samples, so that it shows which are drawn.
COMMON = {
    "MODEL.RESNETS.NORM": "GN",
    "MODEL.RPN.BATCH_SIZE_PER_IMAGE": 16,
    "MODEL.ROI_HEADS.BATCH_SIZE_PER_IMAGE": 8,
}
CASCADE = {
    "MODEL.ROI_HEADS.NAME": "CascadeROIHeads",
    "MODEL.ROI_BOX_HEAD.CLS_AGNOSTIC_BBOX_REG": True,
}
C4 = {
    "MODEL.BACKBONE.NAME": "build_resnet_backbone",
    "MODEL.RESNETS.DEPTH": 50,
    "MODEL.RESNETS.WIDTH_PER_GROUP": 4,
    "MODEL.RESNETS.RES2_OUT_CHANNELS": 16,
    "MODEL.RESNETS.NORM": "FrozenBN",
    "MODEL.RESNETS.OUT_FEATURES": ["res4"],
    "MODEL.RPN.IN_FEATURES": ["res4"],
    "MODEL.ROI_HEADS.IN_FEATURES": ["res4"],
    "MODEL.ANCHOR_GENERATOR.SIZES": [[16, 32, 64]],
    "MODEL.ROI_HEADS.NAME": "Res5ROIHeads",
}
DEFORMABLE = {
    "MODEL.RESNETS.DEPTH": 50,
    "MODEL.RESNETS.RES2_OUT_CHANNELS": 64,
    "MODEL.RESNETS.WIDTH_PER_GROUP": 32,
    "MODEL.RESNETS.DEFORM_ON_PER_STAGE": [False, False, False, True],
    "MODEL.RESNETS.DEFORM_MODULATED": True,
}
# The losses of the first step, and the next random number after it.
STEPS: dict[str, tuple[dict[str, Any], dict[str, float], float]] = {
    "standard": (
        {},
        {
            "loss_cls": 1.308829426765442,
            "loss_box_reg": 0.006274978164583445,
            "loss_mask": 0.6920084953308105,
            "loss_rpn_cls": 0.693453848361969,
            "loss_rpn_loc": 0.061441075056791306,
        },
        0.7306820750236511,
    ),
    "cascade": (
        CASCADE,
        {
            "loss_cls_stage0": 1.4793181419372559,
            "loss_box_reg_stage0": 0.006634044926613569,
            "loss_cls_stage1": 1.464577317237854,
            "loss_box_reg_stage1": 0.012093312107026577,
            "loss_cls_stage2": 1.339138150215149,
            "loss_box_reg_stage2": 0.01789502426981926,
            "loss_mask": 0.695513904094696,
            "loss_rpn_cls": 0.6929486393928528,
            "loss_rpn_loc": 0.061441075056791306,
        },
        0.886975109577179,
    ),
    "c4": (
        C4,
        {
            "loss_cls": 414.21533203125,
            "loss_box_reg": 11.483845710754395,
            "loss_mask": 5.05246639251709,
            "loss_rpn_cls": 15.523426055908203,
            "loss_rpn_loc": 15.554813385009766,
        },
        0.0722665786743164,
    ),
}


@pytest.mark.parametrize("case", STEPS)
def test_first_step(tiny_cfg: Make, sample: Make, case: str) -> None:
    options, expected, following = STEPS[case]
    torch.manual_seed(7)
    model = build_model(tiny_cfg(**{**COMMON, **options}))
    with EventStorage(0):
        losses = model([sample(1, 3), sample(2, 0), sample(3, 2, (64, 100))])
    assert torch.rand(()).item() == pytest.approx(following, abs=1e-7)
    assert {name: loss.item() for name, loss in losses.items()} == pytest.approx(expected, rel=1e-4)


def test_deformable_weights(tiny_cfg: Make) -> None:
    torch.manual_seed(7)
    model = build_model(tiny_cfg(**{**COMMON, **DEFORMABLE}))
    assert torch.rand(()).item() == pytest.approx(0.4767318367958069, abs=1e-7)
    middle = model.backbone.bottom_up.res5[0].conv2.weight
    assert middle.abs().mean().item() == pytest.approx(0.02349962294101715, rel=1e-4)
