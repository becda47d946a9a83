"""Masks that are refined at single points."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from cardamage.config import validate_cfg
from cardamage.errors import ConfigValueError
from cardamage.layers import paste_masks_in_image
from cardamage.modeling import GeneralizedRCNNWithTTA, build_model
from cardamage.modeling.batch import ProposalBatch, TargetBatch, force_fixed_shapes
from cardamage.modeling.detections import DetectionBatch
from cardamage.modeling.roi_heads.mask_targets import MaskRows
from cardamage.modeling.roi_heads.point_head import PointHead, subdivide
from cardamage.modeling.roi_heads.point_rend import _point_loss
from cardamage.structures import Boxes, Instances
from cardamage.utils.events import EventStorage
from tests.support.c4 import C4

Make = Callable[..., Any]
CPU = torch.device("cpu")

POINTS = {"MODEL.ROI_MASK_HEAD.NAME": "PointRendMaskHead", "MODEL.POINT_HEAD.FC_DIM": 16}
PAPER = {
    **POINTS,
    "MODEL.ROI_MASK_HEAD.POOLER_TYPE": "",
    "MODEL.ROI_MASK_HEAD.FC_DIM": 32,
    "MODEL.ROI_MASK_HEAD.CONV_DIM": 16,
}
CASCADE = {"MODEL.ROI_HEADS.NAME": "CascadeROIHeads", "MODEL.ROI_BOX_HEAD.CLS_AGNOSTIC_BBOX_REG": True}
KINDS: dict[str, dict[str, Any]] = {
    "usual coarse mask": POINTS,
    "the paper's coarse mask": PAPER,
    "cascade": {**POINTS, **CASCADE},
    "one mask for all classes": {**POINTS, "MODEL.ROI_MASK_HEAD.CLS_AGNOSTIC_MASK": True},
    "points for all classes": {**PAPER, "MODEL.POINT_HEAD.CLS_AGNOSTIC_MASK": True},
    "coarse logits in the first layer": {**PAPER, "MODEL.POINT_HEAD.COARSE_PRED_EACH_LAYER": False},
    "two maps": {**PAPER, "MODEL.POINT_HEAD.IN_FEATURES": ["p2", "p3"]},
    "no point head": {**PAPER, "MODEL.ROI_MASK_HEAD.POINT_HEAD_ON": False},
}


def _circle(points: torch.Tensor) -> torch.Tensor:
    """As sure as a trained head is: a cell of 28 beside the outline it knows all."""
    return (800 * (0.31 - (points - torch.tensor([0.52, 0.47])).norm(dim=-1))).clamp(-4, 4)


def _scratch(points: torch.Tensor) -> torch.Tensor:
    """A line of a hundredth of the box's side: a third of a cell of 28."""
    direction = torch.tensor([math.cos(0.4), math.sin(0.4)])
    x, y = (points - 0.5).unbind(-1)
    return 0.005 - (x * direction[1] - y * direction[0]).abs()


def _overlap(a: torch.Tensor, b: torch.Tensor) -> float:
    return float((a & b).sum() / (a | b).sum())


@pytest.mark.parametrize(("shape", "least"), [(_circle, 0.995), (_scratch, 0.97)])
def test_subdivision_finds_the_true_outline(shape: Callable[..., torch.Tensor], least: float) -> None:
    predicted = []

    def predict(points: torch.Tensor) -> torch.Tensor:
        predicted.append(points.shape[1])
        return shape(points)

    refined = subdivide(predict, 1, 7, 5, 784, CPU)[0]
    places = (torch.arange(224) + 0.5) / 224
    grid = torch.stack(torch.meshgrid(places, places, indexing="xy"), dim=-1)
    truth = shape(grid) > 0
    # Of 50,176 points a sixteenth.
    assert refined.shape == (224, 224)
    assert predicted == [784] * 4
    coarse = subdivide(shape, 1, 28, 0, 784, CPU)[:, None]
    plain = F.interpolate(coarse, scale_factor=8.0, mode="bilinear", align_corners=False)[0, 0]
    assert _overlap(refined > 0, truth) > least > _overlap(plain > 0, truth)


def test_subdivision_equals_a_loop(fresh_seed: int) -> None:
    rng = np.random.default_rng(fresh_seed)
    waves = rng.normal(size=(3, 8, 3))

    def value(row: int, x: float, y: float) -> float:
        return float(sum(a * math.sin(9 * b * x + 7 * c * y) for a, b, c in waves[row]))

    def predict(points: torch.Tensor) -> torch.Tensor:
        rows = [[value(i, x, y) for x, y in row] for i, row in enumerate(points.double().tolist())]
        return torch.tensor(rows, dtype=torch.float64)

    found = subdivide(predict, 3, 3, 3, 11, CPU)
    for row in range(3):
        side = 3
        logits = np.array([[value(row, (i + 0.5) / 3, (j + 0.5) / 3) for i in range(3)] for j in range(3)])
        for _ in range(3):
            side *= 2
            at = np.clip((np.arange(side) + 0.5) / 2 - 0.5, 0, side // 2 - 1)
            low = np.minimum(np.floor(at).astype(int), side // 2 - 2) if side > 2 else np.zeros(side, int)
            share = at - low
            wide = logits[:, low] * (1 - share) + logits[:, low + 1] * share
            logits = wide[low] * (1 - share)[:, None] + wide[low + 1] * share[:, None]
            for cell in np.argsort(np.abs(logits).ravel())[:11]:
                j, i = divmod(int(cell), side)
                logits[j, i] = value(row, (i + 0.5) / side, (j + 0.5) / side)
        np.testing.assert_allclose(found[row].numpy(), logits, atol=1e-4)


@pytest.mark.parametrize(
    ("start", "steps", "count", "side"), [(7, 5, 784, 224), (7, 1, 784, 14), (3, 0, 9, 3)]
)
def test_sides_of_masks(start: int, steps: int, count: int, side: int) -> None:
    for masks in (0, 2):
        assert subdivide(_circle, masks, start, steps, count, CPU).shape == (masks, side, side)


def test_the_point_head_equals_a_loop_in_float64(fresh_seed: int) -> None:
    torch.manual_seed(fresh_seed)
    head = PointHead(5, coarse_classes=3, num_classes=3, fc_dim=4, num_fc=2).double()
    for parameter in head.parameters():
        torch.nn.init.normal_(parameter)
    fine, coarse = (torch.randn(2, 6, size, dtype=torch.float64) for size in (5, 3))
    state = {name: value.numpy() for name, value in head.state_dict().items()}
    found = head(fine, coarse).detach().numpy()
    for i in range(2):
        for j in range(6):
            x = np.concatenate([fine[i, j], coarse[i, j]])
            for name in ("fc1", "fc2"):
                x = np.maximum(state[f"{name}.weight"][:, :, 0] @ x + state[f"{name}.bias"], 0)
                x = np.concatenate([x, coarse[i, j]])
            wanted = state["predictor.weight"][:, :, 0] @ x + state["predictor.bias"]
            np.testing.assert_allclose(found[i, j], wanted, rtol=1e-12, atol=1e-12)


def test_the_loss_and_its_gradient(fresh_seed: int) -> None:
    torch.manual_seed(fresh_seed)
    logits = torch.randn(4, 5, dtype=torch.float64, requires_grad=True)
    truth, valid = torch.rand(4, 5, dtype=torch.float64), torch.tensor([True, False, True, True])
    loss, right = _point_loss(logits, truth, valid)
    prob, t = 1 / (1 + np.exp(-logits.detach().numpy()[valid])), truth.numpy()[valid]
    assert loss.item() == pytest.approx(-np.mean(t * np.log(prob) + (1 - t) * np.log(1 - prob)))
    assert right.item() == pytest.approx(np.mean((prob > 0.5) == (t >= 0.5)))
    assert torch.autograd.gradcheck(lambda x: _point_loss(x, truth, valid)[0], (logits,))
    assert _point_loss(logits, truth, valid & False)[0] == 0


@pytest.mark.parametrize("kind", list(KINDS))
def test_losses_fall_and_masks_are_found(
    tiny_cfg: Make, sample: Make, storage: EventStorage, kind: str
) -> None:
    torch.manual_seed(0)
    cfg = tiny_cfg(**KINDS[kind])
    validate_cfg(cfg)
    model = build_model(cfg)
    batch = [sample(0, 3), sample(1, 0), sample(2, 1, (64, 100))]
    optimizer = torch.optim.SGD(model.roi_heads.mask_head.parameters(), lr=0.02)
    history = []
    for _ in range(4):
        torch.manual_seed(1)
        optimizer.zero_grad()
        losses = {name: value for name, value in model(batch).items() if "mask" in name}
        sum(losses.values()).backward()  # type: ignore[union-attr]
        optimizer.step()
        history.append({name: value.item() for name, value in losses.items()})
    refined = kind != "no point head"
    assert set(history[0]) == {"loss_mask"} | ({"loss_mask_point"} if refined else set())
    for name in history[0]:
        assert history[0][name] == pytest.approx(math.log(2), rel=0.05)
        assert history[-1][name] < history[0][name]
    model.eval()
    side = 224 if refined else 7
    for one in model.inference(batch[:1], do_postprocess=False):
        assert one.pred_masks.shape == (len(one), 1, side, side)
        assert one.pred_masks.dtype == torch.float32
    for one, photo in zip(model(batch), batch, strict=True):
        assert one["instances"].pred_masks.shape[1:] == (photo["height"], photo["width"])


@pytest.mark.parametrize("bitmasks", [False, True])
@pytest.mark.parametrize("options", [POINTS, PAPER])
def test_no_objects_and_boxes_of_a_pixel(
    tiny_cfg: Make, sample: Make, storage: EventStorage, options: dict[str, Any], bitmasks: bool
) -> None:
    model = build_model(tiny_cfg(**options))
    for fixed in (False, True):
        with force_fixed_shapes(fixed):
            losses = model([sample(0, 0), sample(1, 0)])
            assert losses["loss_mask"] == losses["loss_mask_point"] == 0
            sum(losses.values()).backward()
            small = sample(2, 2, bitmasks=bitmasks)
            small["instances"].gt_boxes = Boxes(torch.tensor([[3.0, 3, 4, 4], [50, 50, 50.5, 90]]))
            losses = model([small])
            assert all(loss.isfinite() for loss in losses.values())
    model.eval()
    features = model.backbone(model.preprocess_image([small]).tensor)
    found = Instances((96, 128), pred_boxes=small["instances"].gt_boxes, pred_classes=torch.tensor([0, 2]))
    with torch.no_grad():
        (result,) = model.roi_heads.forward_with_given_boxes(features, [found])
        assert result.pred_masks.shape == (2, 1, 224, 224)
        assert result.pred_masks.isfinite().all()
        none = Instances((96, 128), pred_boxes=Boxes(torch.zeros(0, 4)), pred_classes=torch.zeros(0).long())
        (result,) = model.roi_heads.forward_with_given_boxes(features, [none])
        assert result.pred_masks.shape == (0, 1, 224, 224)
        model.roi_heads.box_predictor.test_score_thresh = 1.0
        assert len(model([small])[0]["instances"]) == 0


@pytest.mark.parametrize("options", [POINTS, PAPER])
def test_fixed_shapes_give_the_masks_of_lists(tiny_cfg: Make, sample: Make, options: dict[str, Any]) -> None:
    torch.manual_seed(0)
    model = build_model(tiny_cfg(**options)).eval()
    head = model.roi_heads.mask_head
    batch = [sample(0), sample(1, 2, (64, 100))]
    with torch.no_grad():
        features = model.backbone(model.preprocess_image(batch).tensor)
        boxes, valid = torch.zeros(2, 5, 4), torch.zeros(2, 5, dtype=torch.bool)
        lists = []
        for i, one in enumerate(batch):
            truth = one["instances"]
            boxes[i, : len(truth)], valid[i, : len(truth)] = truth.gt_boxes.tensor, True
            lists.append(
                Instances(truth.image_size, pred_boxes=truth.gt_boxes, pred_classes=truth.gt_classes)
            )
        classes = torch.zeros(2, 5, dtype=torch.int64)
        for i, one in enumerate(lists):
            classes[i, : len(one)] = one.pred_classes
        sizes = [one.image_size for one in lists]
        places = DetectionBatch(boxes, torch.rand(2, 5), classes, valid, sizes)
        names = model.roi_heads.mask_in_features
        maps = {name: features[name] for name in names}
        head(maps, places)
        head(maps, lists)
    for image, one in enumerate(lists):
        assert places.masks is not None
        torch.testing.assert_close(places.masks[image, : len(one)], one.pred_masks, rtol=0, atol=1e-4)


@pytest.mark.parametrize("bitmasks", [False, True])
def test_lists_of_proposals_give_the_losses_of_batches(
    tiny_cfg: Make, sample: Make, storage: EventStorage, bitmasks: bool
) -> None:
    torch.manual_seed(0)
    model = build_model(tiny_cfg(**PAPER))
    head = model.roi_heads.mask_head
    batch = [sample(0, 3, bitmasks=bitmasks), sample(2, 2, (64, 100), bitmasks=bitmasks)]
    features = model.backbone(model.preprocess_image(batch).tensor)
    lists = []
    for one in batch:
        truth = one["instances"]
        lists.append(Instances(truth.image_size, proposal_boxes=truth.gt_boxes, **truth.get_fields()))
    batched = ProposalBatch.of(lists)
    batched.gt_index = torch.tensor([[0, 1, 2], [0, 1, 0]])
    _, rows = batched.foreground(3, 5)
    results = []
    for learned in (lists, MaskRows(rows, TargetBatch.of([one["instances"] for one in batch]))):
        torch.manual_seed(3)
        results.append(head({name: features[name] for name in ("p2", "p3", "p4", "p5")}, learned))
    for name in ("loss_mask", "loss_mask_point"):
        torch.testing.assert_close(results[0][name], results[1][name])


def test_mixed_precision_computes_nearly_the_same(
    tiny_cfg: Make, sample: Make, storage: EventStorage
) -> None:
    batch = [sample(0, 3), sample(1, 0), sample(2, 2, (64, 100))]
    losses = []
    for half in (False, True):
        torch.manual_seed(0)
        model = build_model(
            tiny_cfg(**POINTS, **{"MODEL.CHANNELS_LAST": half, "MODEL.RESNETS.NORM": "FrozenBN"})
        )
        torch.manual_seed(1)
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            found = model(batch)
        sum(found.values()).backward()
        assert all(p.grad is None or p.grad.isfinite().all() for p in model.parameters())
        assert model.roi_heads.mask_head.point_head.fc1.weight.grad.abs().max() > 0
        losses.append(found)
    for name in ("loss_mask", "loss_mask_point"):
        torch.testing.assert_close(losses[1][name], losses[0][name], rtol=0.02, atol=2e-3)


@pytest.mark.parametrize("flip", [False, True])
def test_several_views_of_a_photo(tiny_cfg: Make, sample: Make, flip: bool) -> None:
    """One view of the photo's own size finds in it what the model finds."""
    options = {"TEST.AUG.MIN_SIZES": (0,), "TEST.AUG.FLIP": flip, "TEST.DETECTIONS_PER_IMAGE": 10}
    cfg = tiny_cfg(**POINTS, **options)
    torch.manual_seed(0)
    model = build_model(cfg).eval()
    torch.nn.init.normal_(model.roi_heads.mask_head.point_head.predictor.weight)
    photo = sample(4)
    (found,) = GeneralizedRCNNWithTTA(cfg, model)([photo])
    masks = found["instances"].pred_masks
    assert masks.shape == (10, 96, 128)
    assert 0 < masks.float().mean() < 1
    if flip:
        return
    expected = model([photo])[0]["instances"]
    assert torch.equal(expected.pred_boxes.tensor, found["instances"].pred_boxes.tensor)
    assert (expected.pred_masks != masks).float().mean() < 1e-3


def test_large_masks_are_pasted_as_they_are() -> None:
    """A mask as large as its box arrives cell by cell, also beside an image's edge."""
    torch.manual_seed(0)
    masks = torch.rand(3, 224, 224)
    boxes = torch.tensor([[10.0, 20, 234, 244], [0, 0, 224, 224], [80, 60, 304, 284]])
    pasted = paste_masks_in_image(masks, boxes, (300, 320))
    for mask, image, (x, y, _, _) in zip(masks, pasted, boxes.int().tolist(), strict=True):
        assert torch.equal(image[y : y + 224, x : x + 224], mask >= 0.5)
        assert image.sum() == (mask >= 0.5).sum()


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"MODEL.POINT_HEAD.IN_FEATURES": ["p6"]}, "POINT_HEAD.IN_FEATURES is .* which are p2, p3, p4, p5"),
        ({"MODEL.POINT_HEAD.IN_FEATURES": []}, "must name one or more"),
        ({"MODEL.POINT_HEAD.NUM_CLASSES": 80}, "NUM_CLASSES is 80, but MODEL.ROI_HEADS.NUM_CLASSES 3"),
        ({**PAPER, "MODEL.ROI_MASK_HEAD.POOLER_RESOLUTION": 13}, "POOLER_RESOLUTION is 13; .* must be even"),
    ],
)
def test_what_does_not_fit_is_refused(tiny_cfg: Make, options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ConfigValueError, match=sentence):
        build_model(tiny_cfg(**{**POINTS, **options}))


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("NAME", "ImplicitPointHead"),
        ("OVERSAMPLE_RATIO", 0.5),
        ("IMPORTANCE_SAMPLE_RATIO", 1.5),
        ("SUBDIVISION_STEPS", 20),
        ("TRAIN_NUM_POINTS", 0),
    ],
)
def test_bad_values_are_refused(tiny_cfg: Make, key: str, value: Any) -> None:
    cfg = tiny_cfg(**{f"MODEL.POINT_HEAD.{key}": value})
    with pytest.raises(ConfigValueError, match=f"MODEL.POINT_HEAD.{key} is {value!r}; it must be"):
        validate_cfg(cfg)


def test_heads_without_feature_maps_are_refused(tiny_cfg: Make) -> None:
    options = C4
    with pytest.raises(ConfigValueError, match="Res5ROIHeads has none for it"):
        build_model(tiny_cfg(**{**POINTS, **options}))
