"""Mask heads of other resolutions than 28."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pycocotools.mask as mask_util
import pytest
import torch

from cardamage.config import validate_cfg
from cardamage.errors import ConfigValueError
from cardamage.layers import ShapeSpec
from cardamage.modeling import build_model
from cardamage.modeling.batch import RoiRows, TargetBatch
from cardamage.modeling.roi_heads.mask_head import MaskRCNNConvUpsampleHead, mask_rcnn_loss
from cardamage.modeling.roi_heads.mask_targets import MaskRows
from cardamage.structures import Boxes, Instances, PolygonMasks
from cardamage.utils.events import EventStorage

Make = Callable[..., Any]

SIZES = [
    ({}, 28),
    ({"NUM_UPSAMPLE": 2}, 56),
    ({"POOLER_RESOLUTION": 28}, 56),
    ({"POOLER_RESOLUTION": 7, "NUM_UPSAMPLE": 3}, 56),
    ({"POOLER_RESOLUTION": 28, "NUM_UPSAMPLE": 2}, 112),
]


def _options(node: dict[str, Any]) -> dict[str, Any]:
    return {f"MODEL.ROI_MASK_HEAD.{name}": value for name, value in node.items()}


@pytest.mark.parametrize("doublings", [1, 2, 3])
def test_layers_equal_a_loop_in_float64(doublings: int, fresh_seed: int) -> None:
    torch.manual_seed(fresh_seed)
    shape = ShapeSpec(channels=5, height=3, width=3)
    head = MaskRCNNConvUpsampleHead(shape, num_classes=4, conv_dims=[6], num_upsample=doublings).double()
    for parameter in head.parameters():
        torch.nn.init.normal_(parameter)
    x = torch.randn(2, 5, 3, 3, dtype=torch.float64)
    values = x.numpy()
    for layer in list(head)[:-1:2]:
        weight, bias = (p.detach().numpy() for p in (layer.weight, layer.bias))
        n, _, height, width = values.shape
        doubled = np.zeros((n, weight.shape[1], 2 * height, 2 * width))
        for row in range(2 * height):
            for column in range(2 * width):
                cell = values[:, :, row // 2, column // 2]
                doubled[:, :, row, column] = cell @ weight[:, :, row % 2, column % 2] + bias
        values = np.maximum(doubled, 0)
    last = head.predictor
    wanted = np.einsum("nchw,kc->nkhw", values, last.weight.detach().numpy()[:, :, 0, 0])
    wanted += last.bias.detach().numpy()[:, None, None]
    np.testing.assert_allclose(head.layers(x).detach().numpy(), wanted, rtol=1e-12, atol=1e-12)


def test_names_of_parameters_are_those_of_checkpoints() -> None:
    shape = ShapeSpec(channels=4, height=3, width=3)
    plain, fine = (
        MaskRCNNConvUpsampleHead(shape, num_classes=2, conv_dims=[4, 4], num_upsample=n) for n in (1, 2)
    )
    names = list(plain.state_dict())
    assert [name.split(".")[0] for name in names[::2]] == ["mask_fcn1", "deconv", "predictor"]
    assert set(fine.state_dict()) == {*names, "deconv2.weight", "deconv2.bias"}


@pytest.mark.parametrize("size", [28, 56, 112])
def test_the_loss_is_of_polygons_drawn_at_its_size(size: int, fresh_seed: int) -> None:
    rng = np.random.default_rng(fresh_seed)
    polygons = [rng.uniform(0, 60, 2 * n) for n in (3, 4, 7)]
    # A scratch that is thinner than a cell of 28, in a box of its own length.
    polygons.append(np.array([2.0, 30.0, 58.0, 30.2, 58.0, 31.2, 2.0, 31.0]))
    corner = rng.uniform(0, 30, (6, 2))
    boxes = np.concatenate([corner, corner + rng.uniform(1, 30, (6, 2))], axis=1).astype(np.float32)
    boxes = np.concatenate([boxes, np.array([[0, 0, 60, 60]], np.float32)])
    which = np.array([*rng.integers(0, 3, 6), 3])
    classes, valid = rng.integers(0, 3, 7), np.array([True, True, True, False, True, True, True])
    logits = rng.normal(size=(7, 3, size, size)) * 3
    losses = []
    for row in np.flatnonzero(valid):
        start, sides = boxes[row, :2].astype(float), boxes[row, 2:].astype(float) - boxes[row, :2]
        moved = (polygons[which[row]].reshape(-1, 2) - start) * (size / sides)
        drawn = mask_util.decode(mask_util.frPyObjects([moved.ravel().tolist()], size, size))[..., 0]
        prob = 1 / (1 + np.exp(-logits[row, classes[row]]))
        losses.append(-np.where(drawn > 0, np.log(prob), np.log1p(-prob)))
    masks = PolygonMasks([[p] for p in polygons])
    truth = Instances((64, 64), gt_boxes=Boxes(torch.zeros(4, 4)), gt_masks=masks)
    truth.gt_classes = torch.zeros(4, dtype=torch.int64)
    rows = RoiRows(
        torch.from_numpy(boxes),
        torch.zeros(7, dtype=torch.int64),
        torch.from_numpy(valid),
        gt_classes=torch.from_numpy(classes),
        gt_index=torch.from_numpy(which),
    )
    with EventStorage():
        found = mask_rcnn_loss(torch.from_numpy(logits), MaskRows(rows, TargetBatch.of([truth])))
    assert found.item() == pytest.approx(np.mean(losses), rel=1e-5)


@pytest.mark.parametrize("heads", ["StandardROIHeads", "CascadeROIHeads"])
@pytest.mark.parametrize(("node", "size"), SIZES)
def test_detections_have_masks_of_that_size(
    tiny_cfg: Make, sample: Make, node: dict[str, Any], size: int, heads: str
) -> None:
    cascade = {"MODEL.ROI_HEADS.NAME": heads, "MODEL.ROI_BOX_HEAD.CLS_AGNOSTIC_BBOX_REG": True}
    cfg = tiny_cfg(**_options(node), **(cascade if heads == "CascadeROIHeads" else {}))
    validate_cfg(cfg)
    model = build_model(cfg).eval()
    batch = [sample(0), sample(1, 0, (64, 100))]
    raw = model.inference(batch, do_postprocess=False)
    assert all(one.pred_masks.shape[1:] == (1, size, size) for one in raw)
    for one, photo in zip(model(batch), batch, strict=True):
        assert one["instances"].pred_masks.shape[1:] == (photo["height"], photo["width"])


@pytest.mark.parametrize("node", [node for node, size in SIZES if size == 56])
def test_the_loss_falls(tiny_cfg: Make, sample: Make, storage: EventStorage, node: dict[str, Any]) -> None:
    torch.manual_seed(0)
    model = build_model(tiny_cfg(**_options(node)))
    batch = [sample(0, 3), sample(1, 0), sample(2, 1, (64, 100), bitmasks=True)]
    optimizer = torch.optim.SGD(model.roi_heads.mask_head.parameters(), lr=1.0)
    losses = []
    for _ in range(4):
        torch.manual_seed(1)
        optimizer.zero_grad()
        loss = model(batch)["loss_mask"]
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[0] == pytest.approx(math.log(2), rel=0.02)
    assert losses[-1] < losses[0]


@pytest.mark.parametrize("value", [0, 5, -1])
def test_a_bad_number_of_doublings_is_refused(tiny_cfg: Make, value: int) -> None:
    cfg = tiny_cfg(**{"MODEL.ROI_MASK_HEAD.NUM_UPSAMPLE": value})
    with pytest.raises(ConfigValueError, match=f"NUM_UPSAMPLE is {value}; it must be between 1 and 4"):
        validate_cfg(cfg)
