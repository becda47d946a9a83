"""A GPU's training step on tensors without values: what needs a value to go on, or another device, fails."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensorMode

from cardamage.modeling import build_model
from cardamage.modeling.postprocessing import scale_detections
from cardamage.utils.events import EventStorage

Make = Callable[..., Any]


def _has_fake_devices() -> bool:
    """Older torch asks for a driver even so."""
    try:
        with FakeTensorMode(allow_non_fake_inputs=True):
            return bool((torch.arange(2, device="cuda") < torch.ones(2).to("cuda")).is_cuda)
    except (RuntimeError, AssertionError):
        return False


def _move_without_values(model: torch.nn.Module) -> None:
    for module in model.modules():
        for values in (module._parameters, module._buffers):
            for name, value in values.items():
                if value is not None:
                    empty = torch.empty(value.shape, dtype=value.dtype, device="cuda")
                    values[name] = torch.nn.Parameter(empty) if values is module._parameters else empty


@pytest.mark.skipif(not _has_fake_devices(), reason="this torch has no devices without values")
@pytest.mark.parametrize(("heads", "bitmasks"), [("StandardROIHeads", True), ("CascadeROIHeads", False)])
def test_losses_never_wait_for_the_device(tiny_cfg: Make, sample: Make, heads: str, bitmasks: bool) -> None:
    agnostic = heads == "CascadeROIHeads"
    options = {"MODEL.ROI_HEADS.NAME": heads, "MODEL.ROI_BOX_HEAD.CLS_AGNOSTIC_BBOX_REG": agnostic}
    model = build_model(tiny_cfg(**options))
    batch = [sample(0, 3, bitmasks=bitmasks), sample(1, 0), sample(2, 1, (64, 100))]
    with FakeTensorMode(allow_non_fake_inputs=True), EventStorage():
        _move_without_values(model)
        losses = model(batch)
    assert losses
    assert all(loss.device.type == "cuda" and loss.dim() == 0 for loss in losses.values())


@pytest.mark.skipif(not _has_fake_devices(), reason="this torch has no devices without values")
@pytest.mark.parametrize("heads", ["StandardROIHeads", "CascadeROIHeads"])
def test_detections_wait_only_for_their_number(tiny_cfg: Make, sample: Make, heads: str) -> None:
    agnostic = heads == "CascadeROIHeads"
    options = {"MODEL.ROI_HEADS.NAME": heads, "MODEL.ROI_BOX_HEAD.CLS_AGNOSTIC_BBOX_REG": agnostic}
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
