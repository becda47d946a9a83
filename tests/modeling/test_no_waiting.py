"""A GPU's training step on tensors without values: what needs a value to go on, or another device, fails."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensorMode

from cardamage.modeling import build_model
from cardamage.modeling.fusion.plan import plan_fusion
from cardamage.modeling.postprocessing import scale_detections
from cardamage.modeling.roi_heads.suppression import KINDS as SUPPRESSIONS
from cardamage.utils.events import EventStorage
from tests.support import c4
from tests.support.fake_devices import needs_fake_devices

Make = Callable[..., Any]


def _move_without_values(model: torch.nn.Module) -> None:
    for module in model.modules():
        for values in (module._parameters, module._buffers):
            for name, value in values.items():
                if value is not None:
                    empty = torch.empty(value.shape, dtype=value.dtype, device="cuda")
                    values[name] = torch.nn.Parameter(empty) if values is module._parameters else empty


# BatchNorm that learns would count rows that only fill a shape, so with it the heads do wait.
C4 = {**c4.C4, "MODEL.RESNETS.NORM": "FrozenBN"}
KINDS: dict[str, dict[str, Any]] = {
    "fpn": {},
    "cascade": {"MODEL.ROI_HEADS.NAME": "CascadeROIHeads", "MODEL.ROI_BOX_HEAD.CLS_AGNOSTIC_BBOX_REG": True},
    "agnostic": {
        "MODEL.ROI_BOX_HEAD.CLS_AGNOSTIC_BBOX_REG": True,
        "MODEL.ROI_MASK_HEAD.CLS_AGNOSTIC_MASK": True,
    },
    "c4": C4,
    "giou": {"MODEL.ROI_BOX_HEAD.BBOX_REG_LOSS_TYPE": "giou", "MODEL.RPN.BBOX_REG_LOSS_TYPE": "giou"},
    "losses": {
        "MODEL.ROI_BOX_HEAD.CLASS_LOSS": "quality_focal",
        "MODEL.ROI_BOX_HEAD.BBOX_REG_BINS": 9,
        "MODEL.ROI_BOX_HEAD.BBOX_REG_LOSS_TYPE": "iou",
        "MODEL.ROI_MASK_HEAD.LOSS": "bce_dice",
        "MODEL.ROI_MASK_HEAD.BOUNDARY_WEIGHT": 2.0,
        "MODEL.RPN.BBOX_REG_LOSS_TYPE": "l1",
    },
    "seesaw": {"MODEL.ROI_BOX_HEAD.CLASS_LOSS": "seesaw"},
    "equalization": {"MODEL.ROI_BOX_HEAD.CLASS_LOSS": "equalization"},
    "whole_head_gradient": {"MODEL.RPN.SAMPLED_GRADIENT": False},
    "fine_masks": {"MODEL.ROI_MASK_HEAD.NUM_UPSAMPLE": 2},
    "points": {"MODEL.ROI_MASK_HEAD.NAME": "PointRendMaskHead"},
    "points_of_the_paper": {
        "MODEL.ROI_MASK_HEAD.NAME": "PointRendMaskHead",
        "MODEL.ROI_MASK_HEAD.POOLER_TYPE": "",
        "MODEL.CHANNELS_LAST": True,
    },
    "background_weight": {"MODEL.ROI_BOX_HEAD.BACKGROUND_WEIGHT": 2.0},
    "hard_negatives": {"MODEL.ROI_HEADS.SAMPLER": "hard_negative"},
    "hard_negatives_of_a_cascade": {
        "MODEL.ROI_HEADS.SAMPLER": "hard_negative",
        "MODEL.ROI_HEADS.NAME": "CascadeROIHeads",
        "MODEL.ROI_BOX_HEAD.CLS_AGNOSTIC_BBOX_REG": True,
    },
    "hard_negatives_of_c4": {**C4, "MODEL.ROI_HEADS.SAMPLER": "hard_negative"},
    "atss": {"MODEL.RPN.ASSIGNER": "atss"},
    "predicted_boxes": {"MODEL.ROI_BOX_HEAD.TRAIN_ON_PRED_BOXES": True},
    "bf16": {"MODEL.CHANNELS_LAST": True},
    "vgg": {"MODEL.BACKBONE.NAME": "build_vgg_fpn_backbone", "MODEL.VGG.DEPTH": 11, "MODEL.VGG.NORM": "BN"},
    "convnext": {"MODEL.BACKBONE.NAME": "build_convnext_fpn_backbone", "MODEL.CONVNEXT.DROP_PATH": 0.5},
}


@needs_fake_devices
@pytest.mark.parametrize("masks", ["polygons", "bitmaps", "both"])
@pytest.mark.parametrize("kind", list(KINDS))
def test_losses_never_wait_for_the_device(
    tiny_cfg: Make, sample: Make, waits: Any, kind: str, masks: str
) -> None:
    model = build_model(tiny_cfg(**KINDS[kind]))
    batch = [
        sample(0, 3, bitmasks=masks != "polygons"),
        sample(1, 0),
        sample(2, 1, (64, 100), bitmasks=masks == "bitmaps"),
    ]
    with FakeTensorMode(allow_non_fake_inputs=True), EventStorage():
        _move_without_values(model)
        with waits, torch.autocast("cuda", torch.bfloat16, enabled=kind == "bf16"):
            losses = model(batch)
    assert losses
    assert all(loss.device.type == "cuda" and loss.dim() == 0 for loss in losses.values())
    assert waits.found == []


@needs_fake_devices
def test_images_without_objects_never_wait(tiny_cfg: Make, sample: Make, waits: Any) -> None:
    model = build_model(tiny_cfg())
    with FakeTensorMode(allow_non_fake_inputs=True), EventStorage():
        _move_without_values(model)
        with waits:
            assert model([sample(0, 0), sample(1, 0, (64, 100))])
    assert waits.found == []


@needs_fake_devices
def test_waiting_is_noticed(waits: Any) -> None:
    with FakeTensorMode(allow_non_fake_inputs=True), waits:
        x = torch.ones(3).to("cuda", non_blocking=True)
        assert waits.found == []
        torch.tensor([1.0, 2.0]).to("cuda")
        x.cpu()
        torch.tensor(1, device="cuda")
        x.copy_(torch.ones(3))
    assert len(waits.found) == 4
    waits.found.clear()
    with waits:
        y = torch.arange(4.0)
        y[0].item()
        y[y > 1]
        y.nonzero()
        y.unique()
        y[y > 1] = 0.0
        y.masked_fill(y > 1, 0.0)
    assert waits.found == ["_local_scalar_dense", "index", "nonzero", "_unique2"]


@needs_fake_devices
@pytest.mark.parametrize(
    ("heads", "kind"),
    [("CascadeROIHeads", "hard"), *(("StandardROIHeads", kind) for kind in SUPPRESSIONS)],
)
def test_detections_wait_only_for_their_number(tiny_cfg: Make, sample: Make, heads: str, kind: str) -> None:
    agnostic = heads == "CascadeROIHeads"
    options = {"MODEL.ROI_HEADS.NAME": heads, "MODEL.ROI_BOX_HEAD.CLS_AGNOSTIC_BBOX_REG": agnostic}
    options["MODEL.ROI_HEADS.NMS_TYPE"] = kind
    model = build_model(tiny_cfg(**options)).eval()
    batch = [sample(0), sample(1, 0, (64, 100))]
    with FakeTensorMode(allow_non_fake_inputs=True), torch.no_grad():
        _move_without_values(model)
        images = model.preprocess_image(batch)
        features = model.backbone(images.tensor)
        proposals, _ = model.proposal_generator(images, features, None)
        found, _ = model.roi_heads(images, features, proposals, None)
        scaled = scale_detections(found, [(200, 300), (64, 100)])
        assert scaled.masks is not None
        assert scaled.masks.shape == (2, 100, 1, 28, 28)
        assert {t.device.type for t in (scaled.boxes, scaled.scores, scaled.valid, scaled.masks)} == {"cuda"}
        with pytest.raises(DataDependentOutputException):
            scaled.instances()


@needs_fake_devices
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("norm", ["BN", "GN"])
def test_fused_detections_wait_only_for_their_number(
    tiny_cfg: Make, sample: Make, dtype: torch.dtype, norm: str
) -> None:
    model = build_model(tiny_cfg(**{"MODEL.RESNETS.NORM": norm})).eval()
    with FakeTensorMode(allow_non_fake_inputs=True), torch.no_grad():
        _move_without_values(model)
        with plan_fusion(model, dtype, torch.device("cuda")).applied():
            images = model.preprocess_image([sample(0), sample(1, 0, (64, 100))])
            features = model.backbone(images.tensor)
            proposals, _ = model.proposal_generator(images, features, None)
            found, _ = model.roi_heads(images, features, proposals, None)
        assert {(f.device.type, f.dtype) for f in features.values()} == {("cuda", dtype)}
        scaled = scale_detections(found, [(200, 300), (64, 100)])
        assert scaled.masks is not None
        assert scaled.masks.shape == (2, 100, 1, 28, 28)
        results = (scaled.boxes, scaled.scores, scaled.masks)
        assert {(t.device.type, t.dtype) for t in results} == {("cuda", torch.float32)}


@needs_fake_devices
@pytest.mark.parametrize("coarse", ["", "ROIAlignV2"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_refined_masks_wait_only_for_their_number(
    tiny_cfg: Make, sample: Make, waits: Any, dtype: torch.dtype, coarse: str
) -> None:
    options = {
        "MODEL.ROI_MASK_HEAD.NAME": "PointRendMaskHead",
        "MODEL.ROI_MASK_HEAD.POOLER_TYPE": coarse,
        "MODEL.POINT_HEAD.FC_DIM": 16,
    }
    model = build_model(tiny_cfg(**options)).eval()
    with FakeTensorMode(allow_non_fake_inputs=True), torch.no_grad():
        _move_without_values(model)
        with plan_fusion(model, dtype, torch.device("cuda")).applied():
            images = model.preprocess_image([sample(0), sample(1, 0, (64, 100))])
            features = model.backbone(images.tensor)
            proposals, _ = model.proposal_generator(images, features, None)
            with waits:
                found, _ = model.roi_heads(images, features, proposals, None)
        assert found.masks is not None
        assert found.masks.shape == (2, 100, 1, 224, 224)
        assert (found.masks.device.type, found.masks.dtype) == ("cuda", torch.float32)
    assert waits.found == []
