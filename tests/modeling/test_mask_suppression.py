"""Models that thin out their detections by masks, against what follows from their own boxes and masks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from cardamage.config import validate_cfg
from cardamage.errors import ConfigValueError
from cardamage.layers.suppression import mask_overlaps
from cardamage.modeling import GeneralizedRCNNWithTTA, build_model
from cardamage.modeling.batch import force_fixed_shapes
from cardamage.structures import Instances

Make = Callable[..., Any]
HEADS: dict[str, dict[str, Any]] = {
    "StandardROIHeads": {},
    "CascadeROIHeads": {"MODEL.ROI_BOX_HEAD.CLS_AGNOSTIC_BBOX_REG": True},
    "Res5ROIHeads": {
        "MODEL.ROI_HEADS.IN_FEATURES": ["p2"],
        "MODEL.RESNETS.RES2_OUT_CHANNELS": 64,
        "MODEL.FPN.OUT_CHANNELS": 256,
        "MODEL.RESNETS.DEPTH": 50,
        "MODEL.ROI_BOX_HEAD.POOLER_RESOLUTION": 4,
    },
}
OPTIONS = {
    "MODEL.RESNETS.NORM": "GN",
    "MODEL.ROI_HEADS.SCORE_THRESH_TEST": 0.0,
    "MODEL.ROI_HEADS.NMS_THRESH_TEST": 0.3,
    "TEST.DETECTIONS_PER_IMAGE": 12,
}


def _model(cfg: Any) -> Any:
    torch.manual_seed(0)
    model = build_model(cfg).eval()
    with torch.no_grad():
        model.roi_heads.mask_head.predictor.weight.normal_(std=2.0)
    return model


def _network_results(model: Any, batch: list[dict[str, Any]]) -> list[Instances]:
    with torch.no_grad():
        return list(model.inference(batch, do_postprocess=False))


def _thinned(candidates: Instances, across: bool) -> list[int]:
    count = len(candidates)
    given = candidates.pred_masks[None, :, 0], candidates.pred_boxes.tensor[None]
    overlap = mask_overlaps(*given, torch.ones(1, count, count, dtype=torch.bool))[0]
    kept: list[int] = []
    for place in range(count):
        classes = candidates.pred_classes
        others = [other for other in kept if across or classes[other] == classes[place]]
        if all(overlap[place, other] <= 0.3 for other in others):
            kept.append(place)
    return kept[:12]


@pytest.mark.parametrize("across", [False, True])
@pytest.mark.parametrize("heads", list(HEADS))
def test_detections_are_thinned_out_by_their_masks(
    tiny_cfg: Make, sample: Make, heads: str, across: bool
) -> None:
    options = {**OPTIONS, **HEADS[heads], "MODEL.ROI_HEADS.NAME": heads}
    options["MODEL.ROI_HEADS.NMS_CLASS_AGNOSTIC"] = across
    batch = [sample(0), sample(1, size=(64, 100))]
    # The same candidates: hard suppression at the threshold for boxes.
    before = {"MODEL.ROI_HEADS.NMS_THRESH_TEST": 0.6, "TEST.DETECTIONS_PER_IMAGE": 50}
    candidates = _network_results(_model(tiny_cfg(**{**options, **before})), batch)
    options |= {"MODEL.ROI_HEADS.NMS_TYPE": "mask", "MODEL.ROI_HEADS.MASK_NMS_BOX_THRESH": 0.6}
    model = _model(tiny_cfg(**options, **{"MODEL.ROI_HEADS.MASK_NMS_CANDIDATES": 50}))
    found = _network_results(model, batch)
    with force_fixed_shapes(True):
        fixed = _network_results(model, batch)
    for one, same, given in zip(found, fixed, candidates, strict=True):
        kept = _thinned(given, across)
        assert 0 < len(kept) < len(given)
        for result in (one, same):
            torch.testing.assert_close(result.pred_boxes.tensor, given.pred_boxes.tensor[kept])
            torch.testing.assert_close(result.scores, given.scores[kept])
            assert torch.equal(result.pred_classes, given.pred_classes[kept])
            torch.testing.assert_close(result.pred_masks, given.pred_masks[kept], rtol=1e-3, atol=1e-4)


def test_merged_views_are_thinned_out_by_their_mean_masks(tiny_cfg: Make, sample: Make) -> None:
    options = {**OPTIONS, "TEST.AUG.MIN_SIZES": (0,), "MODEL.ROI_HEADS.NMS_TYPE": "mask"}
    cfg = tiny_cfg(**options)
    photos = [{"image": sample(seed)["image"]} for seed in (0, 1)]
    found = GeneralizedRCNNWithTTA(cfg, _model(cfg))(photos)
    for result in found:
        masks = result["instances"].pred_masks.flatten(1).float()
        common = masks @ masks.T
        areas = masks.sum(dim=1)
        iou = common / (areas[:, None] + areas - common).clamp(min=1)
        classes = result["instances"].pred_classes
        pairs = (classes[:, None] == classes).triu(diagonal=1)
        assert 0 < len(classes) <= 12
        assert (iou * pairs).max() < 0.36


def test_a_model_without_masks_is_refused(tiny_cfg: Make) -> None:
    cfg = tiny_cfg(**{"MODEL.ROI_HEADS.NMS_TYPE": "mask", "MODEL.MASK_ON": False})
    with pytest.raises(ConfigValueError, match=r"compares masks, but MODEL\.MASK_ON is False"):
        validate_cfg(cfg)
