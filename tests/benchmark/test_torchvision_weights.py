"""Weights under torchvision's names: there and back, and the same features."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torchvision.models.detection import maskrcnn_resnet50_fpn
from torchvision.models.detection.backbone_utils import resnet_fpn_backbone

from cardamage.benchmark.torchvision_weights import for_torchvision
from cardamage.checkpoint.torchvision_names import convert
from cardamage.config import get_cfg
from cardamage.model_zoo import get_config_file
from cardamage.modeling import build_model


@pytest.fixture(scope="module")
def theirs() -> dict[str, torch.Tensor]:
    torch.manual_seed(1)
    model = maskrcnn_resnet50_fpn(weights=None, weights_backbone=None, num_classes=4)
    return model.state_dict()


def test_there_and_back_is_the_same(theirs: dict[str, torch.Tensor]) -> None:
    ours, _ = convert(theirs, "theirs")
    back = for_torchvision(theirs, ours)
    assert back is not None
    assert back.keys() == theirs.keys()
    for name, value in back.items():
        if name.endswith(("box_predictor.bbox_pred.weight", "box_predictor.bbox_pred.bias")):
            # What torchvision computes for the background is never looked at.
            assert torch.equal(value[4:], theirs[name][4:])
        elif "mask_fcn_logits" in name:
            assert torch.equal(value[1:], theirs[name][1:])
        else:
            assert torch.equal(value, theirs[name]), name


def test_another_network_has_no_weights_for_it(theirs: dict[str, torch.Tensor]) -> None:
    ours, _ = convert(theirs, "theirs")
    assert for_torchvision(theirs, {**ours, "roi_heads.box_head.fc1.weight": torch.zeros(3, 3)}) is None
    assert for_torchvision(theirs, {"other.weight": torch.zeros(3)}) is None


def test_the_trunks_agree(theirs: dict[str, torch.Tensor]) -> None:
    cfg: Any = get_cfg()
    cfg.merge_from_file(get_config_file("COCO-InstanceSegmentation/mask_rcnn_R_50_FPN_1x.yaml"))
    keys = ["MODEL.DEVICE", "cpu", "MODEL.WEIGHTS", "", "MODEL.RESNETS.STRIDE_IN_1X1", False]
    cfg.merge_from_list([*keys, "MODEL.RESNETS.NORM", "BN", "MODEL.BACKBONE.FREEZE_AT", 0])
    model = build_model(cfg).eval()
    trunk = resnet_fpn_backbone(
        backbone_name="resnet50", weights=None, norm_layer=torch.nn.BatchNorm2d
    ).eval()
    names = {f"backbone.{name}": value for name, value in trunk.state_dict().items()}
    moved = for_torchvision(
        {**theirs, **names}, {**convert(theirs, "theirs")[0], **model.state_dict()} | _counters(model, theirs)
    )
    if moved is None:
        pytest.fail("the networks differ")
    trunk.load_state_dict({name.removeprefix("backbone."): moved[name] for name in names})
    images = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        ours, found = model.backbone(images), trunk(images)
    for own, name in zip(("p2", "p3", "p4", "p5"), ("0", "1", "2", "3"), strict=True):
        torch.testing.assert_close(
            found[name], ours[own], rtol=1e-4, atol=1e-4 * float(ours[own].abs().max())
        )


def _counters(model: Any, theirs: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The heads of `theirs`, whose class count is not the config's."""
    heads, _ = convert(theirs, "theirs")
    return {name: value for name, value in heads.items() if name.startswith("roi_heads.")}
