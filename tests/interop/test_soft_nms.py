"""Soft-NMS in Detectron2's models, against cardamage's models of the same weights."""

from __future__ import annotations

from typing import Any

import pytest
import torch

pytest.importorskip("detectron2", reason="needs Detectron2, see docs/parity.md")

from detectron2.modeling import build_model as build_upstream
from detectron2.modeling.roi_heads import FastRCNNOutputLayers
from detectron2.structures import Boxes, Instances

from cardamage.config import get_cfg
from cardamage.errors import ConfigError
from cardamage.interop.config import to_upstream
from cardamage.interop.soft_nms import use_suppression
from cardamage.interop.trainer import RunPlan, trainer_class
from cardamage.modeling import build_model
from cardamage.modeling.roi_heads.detection import Suppression

from .conftest import CONFIG

HEADS = ("StandardROIHeads", "CascadeROIHeads", "Res5ROIHeads")


def config(heads: str, kind: str, **options: Any) -> Any:
    cfg = get_cfg()
    cfg.merge_from_other_cfg({key: value for key, value in CONFIG.items() if key != "_BASE_"})
    model = cfg.MODEL
    model.ROI_HEADS.NAME, model.ROI_HEADS.NMS_TYPE, model.ROI_HEADS.NUM_CLASSES = heads, kind, 3
    model.RESNETS.NORM, model.RESNETS.WIDTH_PER_GROUP = "BN", 64
    if heads == "Res5ROIHeads":
        model.RESNETS.DEPTH, model.RESNETS.RES2_OUT_CHANNELS = 50, 32
        model.RESNETS.WIDTH_PER_GROUP = 8
        model.ANCHOR_GENERATOR.SIZES = [[12, 24, 40, 64]]
    else:
        model.BACKBONE.NAME = "build_resnet_fpn_backbone"
        model.RESNETS.OUT_FEATURES = model.FPN.IN_FEATURES = ["res2", "res3", "res4", "res5"]
        model.RPN.IN_FEATURES = ["p2", "p3", "p4", "p5", "p6"]
        model.ROI_HEADS.IN_FEATURES = ["p2", "p3", "p4", "p5"]
        model.ROI_BOX_HEAD.NAME, model.ROI_BOX_HEAD.NUM_FC = "FastRCNNConvFCHead", 1
        model.ROI_BOX_HEAD.POOLER_RESOLUTION = 7
        model.ROI_BOX_HEAD.CLS_AGNOSTIC_BBOX_REG = heads == "CascadeROIHeads"
    for key, value in options.items():
        model.ROI_HEADS[key] = value
    return cfg


def models(cfg: Any) -> tuple[Any, Any]:
    """cardamage's model and Detectron2's, of the same weights, whose scores spread."""
    torch.manual_seed(11)
    own = build_model(cfg).eval()
    scale = 1 if cfg.MODEL.ROI_HEADS.NAME == "Res5ROIHeads" else 10
    with torch.no_grad():
        for name, value in own.named_parameters():
            if "cls_score.weight" in name or "bbox_pred.weight" in name:
                value.mul_(scale)
    upstream = trainer_class(RunPlan(cfg, [])).build_model(to_upstream(cfg)).eval()
    upstream.load_state_dict(own.state_dict(), strict=False)
    return own, upstream


def photo() -> list[dict[str, Any]]:
    image = torch.randint(0, 256, (3, 96, 128), dtype=torch.uint8, generator=torch.Generator().manual_seed(3))
    return [
        {"image": image, "height": 96, "width": 128},
        {"image": image.flip(2), "height": 192, "width": 256},
    ]


@pytest.mark.parametrize("kind", ["hard", "soft_linear", "soft_gaussian"])
@pytest.mark.parametrize("heads", HEADS)
def test_detections_are_those_of_cardamage(heads: str, kind: str) -> None:
    own, upstream = models(config(heads, kind, SCORE_THRESH_TEST=0.2))
    with torch.no_grad():
        found = list(zip(own(photo()), upstream(photo()), strict=True))
    assert found
    for one, other in found:
        mine, theirs = one["instances"], other["instances"]
        assert len(mine) > 5
        assert mine.pred_classes.tolist() == theirs.pred_classes.tolist()
        torch.testing.assert_close(mine.scores, theirs.scores, rtol=0, atol=1e-5)
        torch.testing.assert_close(mine.pred_boxes.tensor, theirs.pred_boxes.tensor, rtol=0, atol=1e-3)
        assert (mine.pred_masks != theirs.pred_masks).float().mean() < 1e-4


@pytest.mark.parametrize("heads", HEADS)
def test_soft_scores_differ_from_hard_ones(heads: str) -> None:
    results = []
    for kind in ("hard", "soft_gaussian"):
        _, upstream = models(config(heads, kind, SCORE_THRESH_TEST=0.2))
        with torch.no_grad():
            results.append(upstream(photo())[0]["instances"].scores)
    assert results[0].tolist() != results[1].tolist()


def predictor() -> FastRCNNOutputLayers:
    cfg = config("StandardROIHeads", "hard", SCORE_THRESH_TEST=0.05)
    upstream = build_upstream(to_upstream(cfg))
    return upstream.roi_heads.box_predictor


def test_two_boxes_by_hand() -> None:
    layers = predictor()
    use_suppression(layers, Suppression(nms_thresh=0.5, kind="soft_gaussian", sigma=0.5))
    # Boxes of 10x10 that overlap in 10x5: the overlap is 50 / 150.
    proposals = Instances((40, 40), proposal_boxes=Boxes(torch.tensor([[0.0, 0, 10, 10], [0, 5, 10, 15]])))
    probabilities = torch.tensor([[0.8, 0.0, 0.0, 0.2], [0.6, 0.0, 0.0, 0.4]])
    found, rows = layers.inference((probabilities.log().clamp(min=-60), torch.zeros(2, 12)), [proposals])
    expected = [0.8, 0.6 * torch.exp(torch.tensor(-((1 / 3) ** 2) / 0.5)).item()]
    torch.testing.assert_close(found[0].scores, torch.tensor(expected), rtol=0, atol=1e-6)
    assert rows[0].tolist() == [0, 1]
    assert found[0].pred_boxes.tensor.tolist() == [[0, 0, 10, 10], [0, 5, 10, 15]]
    assert isinstance(found[0], Instances)


def test_no_boxes_give_no_detections() -> None:
    layers = predictor()
    use_suppression(layers, Suppression(kind="soft_linear"))
    proposals = Instances((40, 40), proposal_boxes=Boxes(torch.zeros(0, 4)))
    found, rows = layers.inference((torch.zeros(0, 4), torch.zeros(0, 12)), [proposals])
    assert len(found[0]) == 0
    assert rows[0].tolist() == []


def test_a_model_without_box_predictor_is_refused() -> None:
    cfg = config("StandardROIHeads", "soft_linear")
    cfg.MODEL.META_ARCHITECTURE, cfg.MODEL.MASK_ON = "ProposalNetwork", False
    with pytest.raises(ConfigError, match="NMS_TYPE"):
        trainer_class(RunPlan(cfg, [])).build_model(to_upstream(cfg))


def test_suppression_by_masks_is_refused() -> None:
    cfg = config("StandardROIHeads", "mask")
    with pytest.raises(ConfigError, match="NMS_TYPE is 'mask', which Detectron2's models can't do"):
        trainer_class(RunPlan(cfg, [])).build_model(to_upstream(cfg))


def test_boxes_of_other_classes_suppress() -> None:
    layers = predictor()
    use_suppression(layers, Suppression(nms_thresh=0.5, class_agnostic=True))
    proposals = Instances((40, 40), proposal_boxes=Boxes(torch.tensor([[0.0, 0, 10, 10], [0, 1, 10, 10]])))
    probabilities = torch.tensor([[0.8, 0.0, 0.0, 0.2], [0.0, 0.6, 0.0, 0.4]])
    found, rows = layers.inference((probabilities.log().clamp(min=-60), torch.zeros(2, 12)), [proposals])
    assert rows[0].tolist() == [0]
    assert found[0].pred_classes.tolist() == [0]
