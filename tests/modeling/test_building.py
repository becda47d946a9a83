"""Models made with explicit arguments, without a config."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from cardamage.layers import ShapeSpec
from cardamage.modeling import (
    FPN,
    CascadeROIHeads,
    FastRCNNOutputLayers,
    GeneralizedRCNN,
    ResNet,
    StandardROIHeads,
    build_model,
)
from cardamage.modeling.anchor_generator import DefaultAnchorGenerator
from cardamage.modeling.backbone import BasicStem, LastLevelMaxPool
from cardamage.modeling.box_regression import Box2BoxTransform
from cardamage.modeling.matcher import Matcher
from cardamage.modeling.poolers import ROIPooler
from cardamage.modeling.proposal_generator import RPN, StandardRPNHead
from cardamage.modeling.roi_heads import FastRCNNConvFCHead, MaskRCNNConvUpsampleHead
from cardamage.utils.events import EventStorage

Make = Callable[..., Any]
LEVELS = ["p2", "p3", "p4", "p5"]


def _pooler(size: int) -> ROIPooler:
    return ROIPooler(size, scales=[1 / 4, 1 / 8, 1 / 16, 1 / 32], sampling_ratio=0, pooler_type="ROIAlignV2")


def _backbone() -> FPN:
    trunk = ResNet(
        BasicStem(norm="BN"),
        ResNet.make_default_stages(18, norm="BN"),
        out_features=["res2", "res3", "res4", "res5"],
    )
    return FPN(trunk, ["res2", "res3", "res4", "res5"], 32, top_block=LastLevelMaxPool())


def _rpn() -> RPN:
    return RPN(
        in_features=[*LEVELS, "p6"],
        head=StandardRPNHead(in_channels=32, num_anchors=3),
        anchor_generator=DefaultAnchorGenerator(
            sizes=[[16], [32], [64], [128], [256]],
            aspect_ratios=[0.5, 1.0, 2.0],
            strides=[4, 8, 16, 32, 64],
            offset=0.0,
        ),
        anchor_matcher=Matcher([0.3, 0.7], [0, -1, 1], allow_low_quality_matches=True),
        box2box_transform=Box2BoxTransform(weights=[1.0, 1.0, 1.0, 1.0]),
        batch_size_per_image=256,
        positive_fraction=0.5,
        pre_nms_topk=(200, 200),
        post_nms_topk=(100, 50),
    )


def _shared() -> dict[str, Any]:
    return {
        "num_classes": 3,
        "batch_size_per_image": 32,
        "positive_fraction": 0.25,
        "box_in_features": LEVELS,
        "box_pooler": _pooler(7),
        "mask_in_features": LEVELS,
        "mask_pooler": _pooler(14),
    }


def _predictor(agnostic: bool = False, weights: tuple[float, ...] = (10.0, 10.0, 5.0, 5.0)) -> Any:
    return FastRCNNOutputLayers(
        ShapeSpec(channels=64),
        box2box_transform=Box2BoxTransform(weights=weights),
        num_classes=3,
        test_score_thresh=0.05,
        cls_agnostic_bbox_reg=agnostic,
    )


def _box_head() -> FastRCNNConvFCHead:
    return FastRCNNConvFCHead(ShapeSpec(channels=32, height=7, width=7), conv_dims=[], fc_dims=[64])


def _mask_head() -> MaskRCNNConvUpsampleHead:
    shape = ShapeSpec(channels=32, height=14, width=14)
    return MaskRCNNConvUpsampleHead(shape, num_classes=3, conv_dims=[32, 32])


def _model(heads: Callable[[], Any]) -> GeneralizedRCNN:
    return GeneralizedRCNN(
        backbone=_backbone(),
        proposal_generator=_rpn(),
        roi_heads=heads(),
        pixel_mean=[103.530, 116.280, 123.675],
        pixel_std=[1.0, 1.0, 1.0],
        input_format="BGR",
    )


def _standard() -> StandardROIHeads:
    return StandardROIHeads(
        box_head=_box_head(),
        box_predictor=_predictor(),
        mask_head=_mask_head(),
        proposal_matcher=Matcher([0.5], [0, 1]),
        **_shared(),
    )


def _cascade() -> CascadeROIHeads:
    scales = [(10.0, 10.0, 5.0, 5.0), (20.0, 20.0, 10.0, 10.0), (30.0, 30.0, 15.0, 15.0)]
    heads, predictors = zip(*[(_box_head(), _predictor(True, scale)) for scale in scales], strict=True)
    return CascadeROIHeads(
        box_heads=heads,
        box_predictors=predictors,
        mask_head=_mask_head(),
        proposal_matchers=[Matcher([iou], [0, 1]) for iou in (0.5, 0.6, 0.7)],
        **_shared(),
    )


@pytest.mark.parametrize(("name", "heads"), [("StandardROIHeads", _standard), ("CascadeROIHeads", _cascade)])
def test_the_same_model_as_from_a_config(
    tiny_cfg: Make, sample: Make, storage: EventStorage, name: str, heads: Callable[[], Any]
) -> None:
    options = {"MODEL.ROI_HEADS.NAME": name, "MODEL.ROI_BOX_HEAD.CLS_AGNOSTIC_BBOX_REG": name[0] == "C"}
    results = []
    for make in (lambda: build_model(tiny_cfg(**options)), lambda: _model(heads)):
        torch.manual_seed(3)
        model = make()
        losses = model([sample(1), sample(2, 0)])
        results.append((model.state_dict(), losses, model.eval()([sample(3)])[0]["instances"]))
    (weights, losses, found), (own_weights, own_losses, own_found) = results
    assert list(own_weights) == list(weights)
    assert all(torch.equal(own_weights[key], value) for key, value in weights.items())
    assert {k: v.item() for k, v in own_losses.items()} == pytest.approx(
        {k: v.item() for k, v in losses.items()}, rel=1e-5
    )
    torch.testing.assert_close(own_found.scores, found.scores)


def test_one_loss_weight_serves_both_losses() -> None:
    predictor = _predictor()
    assert predictor.loss_weight == {"loss_cls": 1.0, "loss_box_reg": 1.0}
    assert _rpn().loss_weight == {"loss_rpn_cls": 1.0, "loss_rpn_loc": 1.0}
    assert predictor.cls_score.out_features == 4
    assert predictor.bbox_pred.out_features == 12


@pytest.mark.parametrize("conv_norm", ["", "GN"])
def test_box_head_scripts(conv_norm: str) -> None:
    shape = ShapeSpec(channels=32, height=4, width=5)
    head = FastRCNNConvFCHead(shape, conv_dims=[32], fc_dims=[8, 6], conv_norm=conv_norm)
    scripted = torch.jit.script(head)
    for regions in (3, 0):
        features = torch.randn(regions, 32, 4, 5)
        torch.testing.assert_close(scripted(features), head(features))
