"""A GPU's way from scores to masks in the photo finds what the exact one finds; run here on the CPU."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch

from cardamage.modeling import GeneralizedRCNN, build_model
from cardamage.modeling.batch import ProposalBatch, force_fixed_shapes
from cardamage.modeling.detections import DetectionBatch
from cardamage.modeling.postprocessing import detector_postprocess, postprocess_batch, scale_detections
from cardamage.modeling.roi_heads import StandardROIHeads, batched_detection
from cardamage.modeling.roi_heads import suppression as suppression_module
from cardamage.modeling.roi_heads.batched_detection import detect_batch
from cardamage.modeling.roi_heads.detection import detect
from cardamage.modeling.roi_heads.suppression import KINDS, Suppression
from cardamage.structures import Boxes, Instances

Make = Callable[..., Any]
SIZES = [(60, 80), (50, 30), (64, 64)]


def _scored(
    rows: int, classes: int, agnostic: bool, seed: int
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Boxes (N, R, K, 4), scores (N, R, K + 1) with equal ones among them, and used rows."""
    generator = torch.Generator().manual_seed(seed)
    shape = (len(SIZES), rows, 1 if agnostic else classes, 2)
    corners = torch.rand(shape, generator=generator) * 60 - 10
    boxes = torch.cat((corners, corners + torch.rand(shape, generator=generator) * 50), dim=3)
    scores = torch.rand(len(SIZES), rows, classes + 1, generator=generator).pow(2)
    scores = (scores * 20).round() / 20 if seed % 2 else scores
    valid = torch.rand(len(SIZES), rows, generator=generator) < 0.8
    boxes[0, 0, 0, 1], scores[0, -1, 0] = torch.nan, torch.inf
    valid[1] &= seed != 3
    return boxes, scores, valid


@pytest.mark.parametrize("kind", list(KINDS))
@pytest.mark.parametrize(("agnostic", "across"), [(False, False), (True, False), (False, True), (True, True)])
@pytest.mark.parametrize(("rows", "classes", "top"), [(1, 1, 5), (40, 3, 20), (25, 7, 1000), (30, 2, 0)])
@pytest.mark.parametrize("seed", range(4))
def test_batch_equals_one_by_one(
    kind: str,
    agnostic: bool,
    across: bool,
    rows: int,
    classes: int,
    top: int,
    seed: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    most = 60 if across else 10**6
    monkeypatch.setattr(suppression_module, "MOST_AGNOSTIC", most)
    monkeypatch.setattr(batched_detection, "MOST_AGNOSTIC", most)
    boxes, scores, valid = _scored(rows, classes, agnostic, seed)
    suppression = Suppression(0.4, kind, 0.5, 0.05, class_agnostic=across)
    found = detect_batch(boxes, scores, valid, SIZES, 0.1, suppression, top)
    assert found.valid.shape[1] == min(top, rows * classes, most)
    image = torch.arange(len(SIZES))[:, None].expand_as(valid)[valid]
    flat = boxes[valid].flatten(1), scores[valid], image
    expected, sources = detect(*flat, SIZES, 0.1, suppression, top)
    for i, (result, source, got) in enumerate(zip(expected, sources, found.sources(), strict=True)):
        assert found[i].image_size == SIZES[i]
        assert torch.equal(found[i].pred_boxes.tensor, result.pred_boxes.tensor)
        assert torch.equal(found[i].pred_classes, result.pred_classes)
        assert torch.equal(found[i].scores, result.scores)
        assert torch.equal(got, valid[i].nonzero()[:, 0][source])


@pytest.mark.parametrize("mask_output", ["bitmask", "rle"])
def test_postprocessing_equals_one_by_one(mask_output: str) -> None:
    generator = torch.Generator().manual_seed(0)
    corners = torch.rand(3, 6, 2, generator=generator) * 50 - 5
    boxes = torch.cat((corners, corners + torch.rand(3, 6, 2, generator=generator) * 30), dim=2)
    boxes[0, 1], boxes[1, 2, 2] = torch.tensor([70.0, 70, 90, 90]), boxes[1, 2, 0]
    found = DetectionBatch(
        boxes,
        torch.rand(3, 6, generator=generator).sort(dim=1, descending=True).values,
        torch.randint(4, (3, 6), generator=generator),
        torch.tensor([[True] * 6, [True] * 4 + [False] * 2, [False] * 6]),
        SIZES,
        masks=torch.rand(3, 6, 1, 28, 28, generator=generator),
    )
    outputs = [(120, 160), (25, 47), (64, 64)]
    results = postprocess_batch(found, outputs, 0.4, mask_output)
    for i, (size, result) in enumerate(zip(outputs, results, strict=True)):
        used = found.valid[i]
        one = Instances(
            SIZES[i],
            pred_boxes=Boxes(boxes[i, used]),
            scores=found.scores[i, used],
            pred_classes=found.classes[i, used],
            pred_masks=found.masks[i, used] if found.masks is not None else None,
        )
        expected = detector_postprocess(one, *size, 0.4, mask_output)
        _assert_equal(result, expected)
    assert [len(x) for x in results] == [5, 3, 0]
    with pytest.raises(ValueError, match="bitmask, rle"):
        postprocess_batch(found, outputs, mask_output="polygon")


def _assert_equal(result: Instances, expected: Instances) -> None:
    assert result.image_size == expected.image_size
    torch.testing.assert_close(result.pred_boxes.tensor, expected.pred_boxes.tensor)
    torch.testing.assert_close(result.scores, expected.scores)
    assert torch.equal(result.pred_classes, expected.pred_classes)
    if isinstance(expected.pred_masks, torch.Tensor):
        assert torch.equal(result.pred_masks, expected.pred_masks)
    else:
        assert result.pred_masks.rles == expected.pred_masks.rles


@pytest.mark.parametrize("name", ["StandardROIHeads", "CascadeROIHeads", "Res5ROIHeads"])
@pytest.mark.parametrize("mask_output", ["bitmask", "rle"])
def test_a_model_finds_the_same(tiny_cfg: Make, sample: Make, name: str, mask_output: str) -> None:
    options: dict[str, Any] = {
        "MODEL.ROI_HEADS.NAME": name,
        "MODEL.ROI_BOX_HEAD.CLS_AGNOSTIC_BBOX_REG": name == "CascadeROIHeads",
        "MODEL.ROI_HEADS.SCORE_THRESH_TEST": 0.0,
        "TEST.DETECTIONS_PER_IMAGE": 12,
    }
    if name == "Res5ROIHeads":
        options |= {"MODEL.ROI_HEADS.IN_FEATURES": ["p2"], "MODEL.RESNETS.RES2_OUT_CHANNELS": 64}
        options |= {"MODEL.FPN.OUT_CHANNELS": 256, "MODEL.RESNETS.DEPTH": 50}
        options["MODEL.ROI_BOX_HEAD.POOLER_RESOLUTION"] = 4
        # Untrained, this many layers give such large values that background takes all.
        options["MODEL.RESNETS.NORM"] = "GN"
    torch.manual_seed(0)
    model = build_model(tiny_cfg(**options)).eval()
    model.mask_output = mask_output
    batch = [sample(0), sample(1, size=(64, 100)), {**sample(2), "height": 50, "width": 200}]
    expected = model(batch)
    with force_fixed_shapes(True):
        found = model(batch)
    assert sum(len(x["instances"]) for x in expected) > 10
    for one, other in zip(found, expected, strict=True):
        _assert_equal(one["instances"], other["instances"])


class _Halving(GeneralizedRCNN):
    """Changes detections before they are scaled, as Detectron2's users do."""

    def inference(self, batched_inputs: Any, *args: Any, **kwargs: Any) -> Any:
        images = self.preprocess_image(batched_inputs)
        features = self.backbone(images.tensor)
        proposals, _ = self.proposal_generator(images, features, None)
        found, _ = self.roi_heads(images, features, proposals, None)
        for one in found:
            one.scores = one.scores / 2
            one.tag = torch.arange(len(one))
        return self._postprocess(found, batched_inputs, images.image_sizes)


class _Moving(StandardROIHeads):
    """Changes boxes before their masks are computed."""

    def forward(self, images: Any, features: Any, proposals: Any, targets: Any = None) -> Any:
        found = self._forward_box(features, replace(ProposalBatch.of(proposals), fixed=None))
        for one in found:
            one.pred_boxes.tensor[:, 2:] += 1
        return self.forward_with_given_boxes(features, found), {}


@pytest.mark.parametrize("kind", [_Halving, _Moving])
def test_changes_to_detections_count(tiny_cfg: Make, sample: Make, kind: type) -> None:
    torch.manual_seed(0)
    model = build_model(tiny_cfg(**{"MODEL.ROI_HEADS.SCORE_THRESH_TEST": 0.0})).eval()
    batch = [sample(0), sample(1)]
    plain = model(batch)
    (model if kind is _Halving else model.roi_heads).__class__ = kind
    expected = model(batch)
    with force_fixed_shapes(True):
        found = model(batch)
    for one, other, before in zip(found, expected, plain, strict=True):
        _assert_equal(one["instances"], other["instances"])
        assert one["instances"].has("tag") == (kind is _Halving)
        name = "scores" if kind is _Halving else "pred_masks"
        assert not torch.equal(other["instances"].get(name), before["instances"].get(name))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("kind", ["hard", "soft_linear"])
def test_a_gpu_is_waited_for_at_the_end_only(tiny_cfg: Make, sample: Make, kind: str) -> None:
    options = {"MODEL.DEVICE": "cuda", "MODEL.ROI_HEADS.NMS_TYPE": kind}
    model = build_model(tiny_cfg(**options)).eval()
    batch = [sample(0), sample(1, size=(64, 100))]
    with torch.no_grad():
        # Compiles and loads the kernels.
        assert len(model(batch)) == 2
        images = model.preprocess_image(batch)
        torch.cuda.set_sync_debug_mode("error")
        try:
            features = model.backbone(images.tensor)
            proposals, _ = model.proposal_generator(images, features, None)
            found, _ = model.roi_heads(images, features, proposals, None)
            scaled = scale_detections(found, [(200, 300), (64, 100)])
        finally:
            torch.cuda.set_sync_debug_mode("default")
    assert [len(x) for x in scaled.instances()] == scaled.counts()
