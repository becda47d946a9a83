"""Background of the highest loss, against loops in float64 over proposals one by one."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from cardamage.config import get_cfg
from cardamage.config.validate import validate_cfg
from cardamage.errors import ConfigValueError
from cardamage.modeling import build_model
from cardamage.modeling.batch import ProposalBatch, TargetBatch, force_fixed_shapes
from cardamage.modeling.custom import as_list
from cardamage.modeling.roi_heads import StandardROIHeads
from cardamage.modeling.sampling import sample_batch
from cardamage.structures import Boxes, Instances
from cardamage.utils.events import EventStorage
from tests.support.c4 import C4

Make = Callable[..., Any]
BACKGROUND = 4
FIXED = pytest.mark.parametrize("fixed", [False, True], ids=["compact", "fixed"])
CASCADE = {"MODEL.ROI_HEADS.NAME": "CascadeROIHeads", "MODEL.ROI_BOX_HEAD.CLS_AGNOSTIC_BBOX_REG": True}
HARD = {"MODEL.ROI_HEADS.SAMPLER": "hard_negative"}


def _hardest(labels: list[int], hardness: list[float], count: int) -> list[int]:
    """The rule: of the background, again and again the hardest left, of equal ones the first."""
    left = [i for i, label in enumerate(labels) if label == BACKGROUND]
    taken: list[int] = []
    while left and len(taken) < count:
        best = left[0]
        for i in left:
            if hardness[i] > hardness[best]:
                best = i
        taken.append(best)
        left.remove(best)
    return taken


@FIXED
@pytest.mark.parametrize("size", [0, 1, 30, 400])
@pytest.mark.parametrize("ties", [False, True])
def test_the_hardest_are_taken(fixed: bool, size: int, ties: bool, fresh_seed: int) -> None:
    draw = torch.Generator().manual_seed(fresh_seed)
    labels = torch.randint(-1, BACKGROUND + 4, (4, size), generator=draw).clamp(max=BACKGROUND)
    if size:
        labels[3] = BACKGROUND
    hardness = torch.rand(4, size, generator=draw)
    hardness = (hardness * 5).floor() / 5 if ties else hardness
    with force_fixed_shapes(fixed):
        index, valid = sample_batch(labels, 20, 0.25, BACKGROUND, hardness)
    for row in range(4):
        found = index[row][valid[row]].tolist()
        kinds = [labels[row, i].item() for i in found]
        objects = [i for i, kind in zip(found, kinds, strict=True) if kind != BACKGROUND]
        positives = [i for i in range(size) if labels[row, i] not in (-1, BACKGROUND)]
        assert len(objects) == min(5, len(positives))
        assert set(objects) <= set(positives)
        exact = hardness[row].double().tolist()
        assert found[len(objects) :] == _hardest(labels[row].tolist(), exact, 20 - len(objects))


@FIXED
def test_ten_thousand_and_no_more_than_there_are(fixed: bool, fresh_seed: int) -> None:
    draw = torch.Generator().manual_seed(fresh_seed)
    labels = torch.full((1, 10_000), BACKGROUND)
    hardness = torch.rand(1, 10_000, generator=draw, dtype=torch.float64).float()
    with force_fixed_shapes(fixed):
        index, valid = sample_batch(labels, 512, 0.25, BACKGROUND, hardness)
        every, used = sample_batch(labels[:, :100], 512, 0.25, BACKGROUND, hardness[:, :100])
    assert valid.all()
    order = sorted(range(10_000), key=lambda i: (-hardness[0, i].item(), i))
    assert index[0].tolist() == order[:512]
    assert used.all()
    assert sorted(every[0].tolist()) == list(range(100))


@FIXED
def test_objects_are_drawn_as_they_are_without(fixed: bool) -> None:
    labels = torch.tensor([[0] * 30 + [BACKGROUND] * 30])
    found = []
    for hardness in (None, torch.rand(1, 60)):
        torch.manual_seed(3)
        with force_fixed_shapes(fixed):
            found.append(sample_batch(labels, 16, 0.5, BACKGROUND, hardness)[0][0, :8].tolist())
    assert found[0] == found[1]


def _proposals(seed: int, count: int, size: tuple[int, int] = (96, 128)) -> Instances:
    draw = torch.Generator().manual_seed(seed)
    corner = torch.rand(count, 2, generator=draw) * torch.tensor([size[1] * 0.6, size[0] * 0.6])
    boxes = torch.cat([corner, corner + 6 + 30 * torch.rand(count, 2, generator=draw)], dim=1)
    return Instances(size, proposal_boxes=Boxes(boxes), objectness_logits=torch.zeros(count))


def _spread_scores(model: nn.Module, deviation: float) -> None:
    """Let untrained layers tell the proposals apart."""
    for name, parameter in model.roi_heads.named_parameters():
        if "cls_score" in name and "weight" in name:
            nn.init.normal_(parameter, std=deviation)


@FIXED
@pytest.mark.parametrize("kind", ["fpn", "cascade", "c4", "sigmoid"])
def test_losses_of_all_proposals_decide(
    tiny_cfg: Make, sample: Make, kind: str, fixed: bool, fresh_seed: int
) -> None:
    options = {
        "fpn": {},
        "cascade": CASCADE,
        "c4": C4,
        "sigmoid": {"MODEL.ROI_BOX_HEAD.USE_SIGMOID_CE": True},
    }
    torch.manual_seed(fresh_seed)
    model = build_model(tiny_cfg(**options[kind], **HARD, **{"MODEL.RESNETS.NORM": "FrozenBN"})).train()
    _spread_scores(model, 0.01 if kind == "c4" else 0.1)
    heads = model.roi_heads
    batch = [sample(fresh_seed % 1000, 3), sample(fresh_seed % 1000 + 1, 0)]
    truth = [x["instances"] for x in batch]
    most, heads.batch_size_per_image = (16, 8) if kind == "c4" else (90, 32)
    proposals = [_proposals(fresh_seed, most), _proposals(fresh_seed + 1, 12)]
    maps = model.backbone(model.preprocess_image(batch).tensor)
    features = {name: torch.randn_like(x) for name, x in maps.items()}
    with force_fixed_shapes(fixed), EventStorage():
        padded = heads._with_hardness(features, ProposalBatch.of(proposals))
        sampled = heads.label_and_sample_proposals(padded, TargetBatch.of(truth))
    for number, (found, target) in enumerate(zip(as_list(sampled), truth, strict=True)):
        expected = _loss_by_proposal(heads, features, proposals[number], number, kind)
        background = found.gt_classes == 3
        taken = [tuple(box) for box in found.proposal_boxes.tensor[background].tolist()]
        boxes = [tuple(box) for box in proposals[number].proposal_boxes.tensor.tolist()]
        free = [i for i, box in enumerate(boxes) if _best_overlap(box, target.gt_boxes.tensor.tolist()) < 0.5]
        losses = {boxes[i]: expected[i] for i in free}
        assert len(taken) == min(len(free), heads.batch_size_per_image - int((~background).sum()))
        assert set(taken) <= set(losses)
        left = [loss for box, loss in losses.items() if box not in set(taken)]
        # Of those left none is harder, but for rounding.
        assert not left or max(left) <= min(losses[box] for box in taken) * (1 + 1e-4) + 1e-6


def _best_overlap(box: tuple[float, ...], others: list[list[float]]) -> float:
    best = 0.0
    for other in others:
        w = min(box[2], other[2]) - max(box[0], other[0])
        h = min(box[3], other[3]) - max(box[1], other[1])
        inter = max(w, 0.0) * max(h, 0.0)
        areas = (box[2] - box[0]) * (box[3] - box[1]) + (other[2] - other[0]) * (other[3] - other[1])
        best = max(best, inter / (areas - inter))
    return best


def _loss_by_proposal(heads: Any, features: Any, found: Instances, image: int, kind: str) -> list[float]:
    """The loss of each proposal as background, the first stage's head run on each alone, in float64."""
    exact = copy.deepcopy(heads).double()
    names = heads.in_features
    maps = [features[name][image : image + 1].double() for name in names]
    losses = []
    for box in found.proposal_boxes.tensor.double():
        boxes = [Boxes(box[None])]
        boxes[0].tensor = box[None]
        if kind == "c4":
            pooled = exact.res5(exact.pooler(maps, boxes)).mean(dim=[2, 3])
            scores = exact.box_predictor(pooled)[0][0]
        elif kind == "cascade":
            scores = exact.box_predictor[0](exact.box_head[0](exact.box_pooler(maps, boxes)))[0][0]
        else:
            scores = exact.box_predictor(exact.box_head(exact.box_pooler(maps, boxes)))[0][0]
        if kind == "sigmoid":
            losses.append(sum(1 / (1 + math.exp(-s)) for s in scores[:-1].tolist()))
        else:
            losses.append(-F.log_softmax(scores, dim=0)[-1].item())
    return losses


@pytest.mark.parametrize(
    "options", [{}, CASCADE, {"MODEL.ROI_BOX_HEAD.NORM": "BN", "MODEL.ROI_BOX_HEAD.NUM_CONV": 1}]
)
@pytest.mark.parametrize("autocast", [False, True])
def test_gradients_and_statistics_are_those_of_the_sample(
    tiny_cfg: Make, sample: Make, options: dict[str, Any], autocast: bool
) -> None:
    # Everything is sampled, so how hard it is changes nothing but the rows' order.
    more = {"MODEL.ROI_HEADS.BATCH_SIZE_PER_IMAGE": 2000, "MODEL.ROI_HEADS.POSITIVE_FRACTION": 1.0}
    batch = [sample(1, 3), sample(2, 1)]
    results = []
    for sampler in ("random", "hard_negative"):
        torch.manual_seed(0)
        model = build_model(tiny_cfg(**options, **more, **{"MODEL.ROI_HEADS.SAMPLER": sampler})).train()
        torch.manual_seed(1)
        with EventStorage(), torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            losses = model(batch)
        sum(losses.values()).backward()
        grads = {name: p.grad for name, p in model.named_parameters()}
        buffers = {name: b.double() for name, b in model.named_buffers() if "running" in name}
        results.append((losses, grads, buffers))
    near = {"rtol": 0.05, "atol": 0.02} if autocast else {"rtol": 1e-3, "atol": 1e-5}
    for found, wanted in zip(results[1], results[0], strict=True):
        assert found.keys() == wanted.keys()
        for name in wanted:
            assert (found[name] is None) == (wanted[name] is None), name
            if wanted[name] is not None:
                torch.testing.assert_close(
                    found[name], wanted[name], **near, msg=lambda m, n=name: f"{n}: {m}"
                )
    learned = [grad.abs().sum() for name, grad in results[1][1].items() if "cls_score.weight" in name]
    assert all(total > 0 for total in learned)


def test_no_proposals_and_no_objects(tiny_cfg: Make, sample: Make) -> None:
    model = build_model(tiny_cfg(**HARD)).train()
    batch = [sample(0, 0), sample(1, 0)]
    images = model.preprocess_image(batch)
    features = model.backbone(images.tensor)
    truth = [x["instances"] for x in batch]
    with EventStorage():
        _, losses = model.roi_heads(images, features, [_proposals(0, 0), _proposals(1, 5)], truth)
    assert all(torch.isfinite(loss) for loss in losses.values())


def test_training_on_them_keeps_false_positives_down(tiny_cfg: Make, sample: Make) -> None:
    # A step teaches the hardest background: its own loss is above that of background drawn at random.
    batch, losses = [sample(3, 2), sample(4, 2)], {}
    for sampler in ("random", "hard_negative"):
        torch.manual_seed(0)
        options = {"MODEL.ROI_HEADS.SAMPLER": sampler, "MODEL.ROI_HEADS.BATCH_SIZE_PER_IMAGE": 12}
        model = build_model(tiny_cfg(**options, **{"MODEL.ROI_HEADS.POSITIVE_FRACTION": 0.0})).train()
        _spread_scores(model, 0.5)
        with EventStorage():
            losses[sampler] = model(batch)["loss_cls"].item()
    assert losses["hard_negative"] > losses["random"]


def test_heads_that_sample_themselves_are_refused(tiny_cfg: Make, sample: Make) -> None:
    class _Own(StandardROIHeads):
        def _sample_proposals(self, *args: Any) -> Any:
            return super()._sample_proposals(*args)

    model = build_model(tiny_cfg(**HARD)).train()
    model.roi_heads.__class__ = _Own
    with (
        EventStorage(),
        pytest.raises(ConfigValueError, match="SAMPLER is 'hard_negative', but _Own samples"),
    ):
        model([sample(0)])


def test_a_bad_value_is_refused() -> None:
    cfg = get_cfg()
    cfg.MODEL.ROI_HEADS.SAMPLER = "hard"
    with pytest.raises(
        ConfigValueError, match="MODEL.ROI_HEADS.SAMPLER is 'hard'; it must be one of 'random'"
    ):
        validate_cfg(cfg)
