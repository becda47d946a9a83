"""What proposals are matched to and which are sampled, against the rule box by box."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from cardamage.modeling import ROIHeads
from cardamage.modeling.batch import ProposalBatch, TargetBatch, force_fixed_shapes
from cardamage.modeling.matcher import Matcher
from cardamage.modeling.postprocessing import detector_postprocess
from cardamage.modeling.roi_heads import select_foreground_proposals
from cardamage.structures import BitMasks, Boxes, Instances, ROIMasks
from cardamage.utils.events import EventStorage

BACKGROUND = 5
FIXED = pytest.mark.parametrize("fixed", [False, True], ids=["compact", "fixed"])


def _heads(**more: Any) -> ROIHeads:
    options: dict[str, Any] = {
        "num_classes": BACKGROUND,
        "batch_size_per_image": 1000,
        "positive_fraction": 1.0,
        "proposal_matcher": Matcher([0.4, 0.6], [0, -1, 1]),
    }
    return ROIHeads(**{**options, **more})


def _random(rng: np.random.Generator, proposals: int, objects: int) -> tuple[Instances, Instances]:
    corner = rng.uniform(0, 30, (objects, 2))
    truth = np.concatenate([corner, corner + rng.uniform(5, 25, (objects, 2))], axis=1)
    near = truth[rng.integers(0, objects, proposals)] if objects else rng.uniform(0, 30, (proposals, 4))
    boxes = near + rng.normal(0, 2, near.shape)
    boxes[:, 2:] = np.maximum(boxes[:, 2:], boxes[:, :2] + 1)
    found = Instances(
        (60, 60),
        proposal_boxes=Boxes(torch.from_numpy(boxes).float()),
        objectness_logits=torch.from_numpy(rng.normal(0, 1, proposals)).float(),
    )
    masks = BitMasks(torch.from_numpy(rng.random((objects, 60, 60)) < 0.5))
    target = Instances(
        (60, 60),
        gt_boxes=Boxes(torch.from_numpy(truth).float().view(-1, 4)),
        gt_classes=torch.from_numpy(rng.integers(0, BACKGROUND, objects)),
        gt_masks=masks,
        gt_tag=torch.arange(objects) * 10,
    )
    return found, target


def _expected(box: np.ndarray, truth: Instances) -> tuple[int, int]:
    """The class (-1: ignored) and the object of a box."""
    best, which = 0.0, 0
    for i, other in enumerate(truth.gt_boxes.tensor.double().numpy()):
        w, h = np.minimum(box[2:], other[2:]) - np.maximum(box[:2], other[:2])
        inter = max(w, 0) * max(h, 0)
        areas = (box[2] - box[0]) * (box[3] - box[1]) + (other[2] - other[0]) * (other[3] - other[1])
        if inter / (areas - inter) > best:
            best, which = inter / (areas - inter), i
    if best >= 0.6:
        return int(truth.gt_classes[which]), which
    return (BACKGROUND if best < 0.4 else -1), which


@FIXED
@pytest.mark.parametrize("append", [False, True])
@pytest.mark.parametrize("as_lists", [False, True])
@pytest.mark.parametrize("seed", range(3))
def test_everything_is_sampled_by_the_rule(
    storage: EventStorage, fixed: bool, append: bool, as_lists: bool, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    pairs = [_random(rng, 30, 3), _random(rng, 7, 0), _random(rng, 0, 2), _random(rng, 12, 1)]
    proposals, targets = (list(x) for x in zip(*pairs, strict=True))
    given: Any = proposals
    with force_fixed_shapes(fixed):
        if not as_lists:
            batch = ProposalBatch.of(proposals)
            given = ProposalBatch(batch.boxes, batch.valid, batch.image_sizes, batch.logits)
        sampled = _heads(proposal_append_gt=append).label_and_sample_proposals(given, targets)
    logged = []
    for found, target, result in zip(proposals, targets, sampled, strict=True):
        boxes = found.proposal_boxes.tensor.double().numpy()
        if append:
            boxes = np.concatenate([boxes, target.gt_boxes.tensor.double().numpy()])
        expected = [_expected(box, target) for box in boxes]
        wanted = {tuple(b): e for b, e in zip(boxes, expected, strict=True) if e[0] >= 0}
        got = {tuple(b): i for i, b in enumerate(result.proposal_boxes.tensor.double().numpy())}
        assert set(got) == set(wanted)
        for box, (label, which) in wanted.items():
            one = result[got[box]]
            assert one.gt_classes.tolist() == [label]
            if label < BACKGROUND:
                assert one.gt_tag.tolist() == [10 * which]
                assert torch.equal(one.gt_boxes.tensor, target.gt_boxes.tensor[which : which + 1])
                assert torch.equal(one.gt_masks.tensor, target.gt_masks.tensor[which : which + 1])
        is_object = result.gt_classes < BACKGROUND
        assert (is_object[:-1] | ~is_object[1:]).all()
        logged.append((is_object.sum().item(), (~is_object).sum().item()))
    foreground, background = np.mean(logged, axis=0)
    latest = {name: value for name, (value, _) in storage.latest().items()}
    assert latest["roi_head/num_fg_samples"] == pytest.approx(foreground)
    assert latest["roi_head/num_bg_samples"] == pytest.approx(background)


@FIXED
def test_shares_of_a_sample(storage: EventStorage, fixed: bool) -> None:
    rng = np.random.default_rng(0)
    pairs = [_random(rng, 60, 3), _random(rng, 40, 0)]
    heads = _heads(batch_size_per_image=16, positive_fraction=0.25, proposal_matcher=Matcher([0.5], [0, 1]))
    with force_fixed_shapes(fixed):
        sampled = heads.label_and_sample_proposals(*(list(x) for x in zip(*pairs, strict=True)))
    assert [(x.gt_classes < BACKGROUND).sum().item() for x in sampled] == [4, 0]
    assert [len(x) for x in sampled] == [16, 16]
    assert [x.has("gt_masks") for x in sampled] == [True, False]


def test_foreground_of_lists() -> None:
    lists = [
        Instances(
            (9, 9), gt_classes=torch.tensor(classes, dtype=torch.int64), place=torch.arange(len(classes))
        )
        for classes in ([2, 5, -1, 0], [], [5, 5])
    ]
    found, masks = select_foreground_proposals(lists, BACKGROUND)
    assert [x.place.tolist() for x in found] == [[0, 3], [], []]
    assert [m.tolist() for m in masks] == [[True, False, False, True], [], [False, False]]


def test_labels_by_the_low_quality_rule() -> None:
    quality = torch.tensor([[0.1, 0.3, 0.3, 0.0], [0.0, 0.9, 0.2, 0.0]])
    labels = torch.tensor([0, -1, 0, 0])
    Matcher([0.5], [0, 1]).set_low_quality_matches_(labels, quality)
    assert labels.tolist() == [0, 1, 1, 0]


def test_batches_that_are_empty() -> None:
    assert len(ProposalBatch.of([])) == len(TargetBatch.of([])) == 0
    rows = ProposalBatch.of([]).rows()
    assert rows.boxes.shape == (0, 4)


def test_masks_within_boxes_are_pasted() -> None:
    boxes = Boxes(torch.tensor([[0.0, 0, 4, 4], [2, 2, 2, 6]]))
    probs = torch.full((2, 4, 4), 0.2)
    probs[0, :, :2] = 0.9
    results = Instances((8, 8), pred_boxes=boxes, pred_masks=ROIMasks(probs))
    plain = Instances((8, 8), pred_boxes=boxes, pred_masks=probs[:, None])
    found = detector_postprocess(results, 16, 8)
    assert found.pred_masks.shape == (1, 16, 8)
    assert found.pred_masks[0, :8, :2].all()
    assert found.pred_masks.sum() == 16
    assert torch.equal(found.pred_masks, detector_postprocess(plain, 16, 8).pred_masks)
