"""Small models, and weights that make every layer's names matter."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from cardamage.config import get_cfg
from cardamage.modeling import build_model


def _keys(depth: int = 18, **keys: Any) -> list[Any]:
    """Return keys and values of a config, all of them Detectron2's too."""
    shallow = depth < 50
    values = {
        "MODEL.DEVICE": "cpu",
        "MODEL.META_ARCHITECTURE": "GeneralizedRCNN",
        "MODEL.MASK_ON": True,
        "MODEL.BACKBONE.NAME": "build_resnet_fpn_backbone",
        "MODEL.RESNETS.DEPTH": depth,
        "MODEL.RESNETS.RES2_OUT_CHANNELS": 64 if shallow else 256,
        "MODEL.RESNETS.STRIDE_IN_1X1": False,
        "MODEL.RESNETS.OUT_FEATURES": ["res2", "res3", "res4", "res5"],
        "MODEL.FPN.IN_FEATURES": ["res2", "res3", "res4", "res5"],
        "MODEL.ANCHOR_GENERATOR.SIZES": [[32], [64], [128], [256], [512]],
        "MODEL.RPN.IN_FEATURES": ["p2", "p3", "p4", "p5", "p6"],
        "MODEL.RPN.PRE_NMS_TOPK_TEST": 1000,
        "MODEL.ROI_HEADS.NAME": "StandardROIHeads",
        "MODEL.ROI_HEADS.IN_FEATURES": ["p2", "p3", "p4", "p5"],
        "MODEL.ROI_HEADS.NUM_CLASSES": 4,
        "MODEL.ROI_BOX_HEAD.NAME": "FastRCNNConvFCHead",
        "MODEL.ROI_BOX_HEAD.NUM_FC": 2,
        "MODEL.ROI_BOX_HEAD.POOLER_RESOLUTION": 7,
        "MODEL.ROI_MASK_HEAD.NAME": "MaskRCNNConvUpsampleHead",
        "MODEL.ROI_MASK_HEAD.NUM_CONV": 4,
        "MODEL.ROI_MASK_HEAD.POOLER_RESOLUTION": 14,
    }
    values.update({key.replace("__", "."): value for key, value in keys.items()})
    return [item for pair in values.items() for item in pair]


@pytest.fixture
def small_keys() -> Callable[..., list[Any]]:
    """Return what ``small_model`` sets, for ``merge_from_list``."""
    return _keys


@pytest.fixture
def small_model() -> Callable[..., nn.Module]:
    """Build a Mask R-CNN of 4 classes from ``depth`` and keys such as ``INPUT__FORMAT="RGB"``."""

    def build(depth: int = 18, **keys: Any) -> nn.Module:
        cfg = get_cfg()
        cfg.merge_from_list(_keys(depth, **keys))
        return build_model(cfg).eval()

    return build


@pytest.fixture
def randomize() -> Callable[[nn.Module], dict[str, torch.Tensor]]:
    """Give the norms of a model statistics of their own; return its state dict."""

    @torch.no_grad()
    def fill(model: nn.Module) -> dict[str, torch.Tensor]:
        for module in model.modules():
            if getattr(module, "running_var", None) is not None:
                module.running_mean.normal_(0, 0.2)
                module.running_var.uniform_(0.5, 1.5)
                module.weight.copy_(torch.rand_like(module.weight) * 0.5 + 0.5)
                module.bias.copy_(torch.randn_like(module.bias) * 0.2)
        return model.state_dict()

    return fill


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> pytest.LogCaptureFixture:
    """Catch what the project logs, from INFO up."""
    monkeypatch.setattr(logging.getLogger("cardamage"), "propagate", True)
    caplog.set_level(logging.INFO, logger="cardamage")
    return caplog
