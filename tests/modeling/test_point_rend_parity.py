"""Refined masks against Detectron2's project, with the same weights, points and regions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from cardamage.layers import ShapeSpec
from cardamage.modeling.roi_heads import PointRendMaskHead
from cardamage.structures import BitMasks, Boxes, Instances
from cardamage.utils.events import EventStorage

Make = Callable[..., Any]

pytest.importorskip("detectron2")
project = pytest.importorskip("detectron2.projects.point_rend")

NAMES = ("p2", "p3", "p4", "p5")
OPTIONS = {
    "MODEL.ROI_HEADS.NUM_CLASSES": 5,
    "MODEL.ROI_MASK_HEAD.NAME": "PointRendMaskHead",
    "MODEL.ROI_MASK_HEAD.POOLER_TYPE": "",
    "MODEL.ROI_MASK_HEAD.POINT_HEAD_ON": True,
    "MODEL.ROI_MASK_HEAD.CONV_DIM": 16,
    "MODEL.ROI_MASK_HEAD.FC_DIM": 64,
    "MODEL.POINT_HEAD.NUM_CLASSES": 5,
    "MODEL.POINT_HEAD.FC_DIM": 32,
}


def _heads(seed: int, tiny_cfg: Make, options: dict[str, Any]) -> tuple[Any, Any]:
    from detectron2.config import get_cfg
    from detectron2.layers import ShapeSpec as TheirSpec

    cfg = get_cfg()
    project.add_pointrend_config(cfg)
    cfg.merge_from_list([part for item in options.items() for part in item])
    theirs_shapes = {name: TheirSpec(channels=24, stride=4 << i) for i, name in enumerate(NAMES)}
    ours_shapes = {name: ShapeSpec(channels=24, stride=4 << i) for i, name in enumerate(NAMES)}
    torch.manual_seed(seed)
    theirs = project.mask_head.PointRendMaskHead(cfg, theirs_shapes)
    torch.manual_seed(seed)
    ours = PointRendMaskHead(tiny_cfg(**options), ours_shapes)
    return theirs, ours


def _batch(seed: int) -> tuple[dict[str, torch.Tensor], list[torch.Tensor], list[torch.Tensor]]:
    rng = torch.Generator().manual_seed(seed)
    maps = {
        name: torch.randn(3, 24, 32 >> i, 48 >> i, generator=rng, requires_grad=True)
        for i, name in enumerate(NAMES)
    }
    boxes, classes = [], []
    for count in (4, 0, 6):
        corner = torch.rand(count, 2, generator=rng) * torch.tensor([110.0, 60])
        boxes.append(torch.cat([corner, corner + 1 + torch.rand(count, 2, generator=rng) * 66], dim=1))
        classes.append(torch.randint(0, 5, (count,), generator=rng))
    return maps, boxes, classes


@pytest.mark.parametrize("each_layer", [True, False])
def test_weights_losses_gradients_and_masks(tiny_cfg: Make, fresh_seed: int, each_layer: bool) -> None:
    from detectron2.structures import BitMasks as TheirMasks
    from detectron2.structures import Boxes as TheirBoxes
    from detectron2.structures import Instances as TheirInstances
    from detectron2.utils.events import EventStorage as TheirStorage

    options = {**OPTIONS, "MODEL.POINT_HEAD.COARSE_PRED_EACH_LAYER": each_layer}
    theirs, ours = _heads(fresh_seed, tiny_cfg, options)
    assert set(theirs.state_dict()) == set(ours.state_dict())
    for name, value in theirs.state_dict().items():
        assert torch.equal(ours.state_dict()[name], value), name
    with torch.no_grad():
        for name, parameter in theirs.named_parameters():
            if "predict" in name and name.endswith("weight"):
                parameter.mul_(300)
    ours.load_state_dict(theirs.state_dict())
    maps, boxes, classes = _batch(fresh_seed)
    noise = [torch.rand(len(b), 1, 128, 192) for b in boxes]
    masks = [F.avg_pool2d(x, 9, 1, 4)[:, 0] > 0.5 if len(x) else x[:, 0] > 1 for x in noise]

    size = (128, 192)
    learned = [
        TheirInstances(size, proposal_boxes=TheirBoxes(b), gt_classes=c, gt_masks=TheirMasks(m))
        for b, c, m in zip(boxes, classes, masks, strict=True)
    ]
    own = [
        Instances(size, proposal_boxes=Boxes(b), gt_classes=c, gt_masks=BitMasks(m))
        for b, c, m in zip(boxes, classes, masks, strict=True)
    ]
    with TheirStorage(0), EventStorage(0):
        torch.manual_seed(fresh_seed)
        wanted = theirs(maps, learned)
        torch.manual_seed(fresh_seed)
        found = ours(maps, own)
    for name in ("loss_mask", "loss_mask_point"):
        torch.testing.assert_close(found[name], wanted[name], rtol=1e-4, atol=1e-6)
    gradient = torch.autograd.grad(sum(found.values()), [maps["p2"], ours.point_head.fc1.weight])
    exact = torch.autograd.grad(sum(wanted.values()), [maps["p2"], theirs.point_head.fc1.weight])
    for one, other in zip(gradient, exact, strict=True):
        assert (one - other).norm() < 1e-3 * other.norm()

    theirs.eval()
    ours.eval()
    pairs = list(zip(boxes, classes, strict=True))
    with torch.no_grad():
        expected = theirs(
            maps, [TheirInstances(size, pred_boxes=TheirBoxes(b), pred_classes=c) for b, c in pairs]
        )
        result = ours(maps, [Instances(size, pred_boxes=Boxes(b), pred_classes=c) for b, c in pairs])
    for one, other in zip(result, expected, strict=True):
        assert one.pred_masks.shape == other.pred_masks.shape
        # Of two points that are as undecided either may be predicted.
        differ = (one.pred_masks - other.pred_masks).abs() > 1e-3
        assert differ.sum() <= 1e-2 * differ.numel()
