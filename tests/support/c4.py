"""A network whose heads share a stage of the trunk, as changes to the small one of the tests."""

from __future__ import annotations

from typing import Any

__all__ = ["C4"]

C4: dict[str, Any] = {
    "MODEL.BACKBONE.NAME": "build_resnet_backbone",
    "MODEL.RESNETS.DEPTH": 50,
    "MODEL.RESNETS.RES2_OUT_CHANNELS": 256,
    "MODEL.RESNETS.OUT_FEATURES": ["res4"],
    "MODEL.ANCHOR_GENERATOR.SIZES": [[32, 64]],
    "MODEL.RPN.IN_FEATURES": ["res4"],
    "MODEL.ROI_HEADS.NAME": "Res5ROIHeads",
    "MODEL.ROI_HEADS.IN_FEATURES": ["res4"],
    "MODEL.ROI_MASK_HEAD.NUM_CONV": 0,
}
