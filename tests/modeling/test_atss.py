"""ATSS against the paper's algorithm 1 as loops over objects and anchors, in float64."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
import torch

from cardamage.config import get_cfg
from cardamage.config.validate import validate_cfg
from cardamage.errors import ConfigValueError
from cardamage.modeling import atss, build_model
from cardamage.modeling.anchor_generator import DefaultAnchorGenerator
from cardamage.modeling.atss import ATSSMatcher
from cardamage.modeling.batch import TargetBatch, force_fixed_shapes
from cardamage.structures import Boxes, ImageList, Instances
from cardamage.utils.events import EventStorage

Level = tuple[np.ndarray, np.ndarray, int]
Make = Callable[..., Any]


def _pyramid(
    size: tuple[int, int], ratios: Sequence[float] = (0.5, 1.0, 2.0), strides: Sequence[int] = (8, 16, 32, 64)
) -> tuple[list[torch.Tensor], list[Level]]:
    """Anchors, and for the reference each level's places (by the definition), anchors and anchors a place."""
    maps = [torch.zeros(1, 1, math.ceil(size[0] / s), math.ceil(size[1] / s)) for s in strides]
    make = DefaultAnchorGenerator(sizes=[[4 * s] for s in strides], aspect_ratios=[ratios], strides=strides)
    grids = [level.tensor for level in make(maps)]
    levels = []
    for grid, one, stride in zip(grids, maps, strides, strict=True):
        height, width = one.shape[2:]
        places = [((x + 0.5) * stride, (y + 0.5) * stride) for y in range(height) for x in range(width)]
        levels.append((np.array(places), grid.double().numpy(), len(ratios)))
    return grids, levels


def _iou(a: Sequence[float], b: Sequence[float]) -> float:
    inter = max(min(a[2], b[2]) - max(a[0], b[0]), 0) * max(min(a[3], b[3]) - max(a[1], b[1]), 0)
    union = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - inter
    return inter / union if inter > 0 else 0.0


def _candidates(levels: Sequence[Level], box: Sequence[float], topk: int) -> list[int]:
    center = ((box[0] + box[2]) / 2, (box[1] + box[3]) / 2)
    found, first = [], 0
    for places, anchors, count in levels:
        distance = [(x - center[0]) ** 2 + (y - center[1]) ** 2 for x, y in places]
        nearest = sorted(range(len(places)), key=lambda i: (distance[i], i))[:topk]
        found += [first + place * count + k for place in nearest for k in range(count)]
        first += len(anchors)
    return found


def _reference(
    levels: Sequence[Level], boxes: np.ndarray, topk: int, low: bool
) -> tuple[list[int], list[int]]:
    anchors = np.concatenate([level[1] for level in levels])
    owner: dict[int, tuple[float, int]] = {}
    for number, box in enumerate(boxes.tolist()):
        candidates = _candidates(levels, box, topk)
        overlap = {i: _iou(anchors[i], box) for i in candidates}
        values = list(overlap.values())
        bound = statistics.fmean(values) + (statistics.stdev(values) if len(values) > 1 else 0.0)
        chosen = []
        for i in candidates:
            x, y = (anchors[i, 0] + anchors[i, 2]) / 2, (anchors[i, 1] + anchors[i, 3]) / 2
            edges = min(x - box[0], y - box[1], box[2] - x, box[3] - y)
            if overlap[i] >= bound and edges > 0.01:
                chosen.append(i)
        if low and not chosen and max(values) > 0:
            chosen = [i for i in candidates if overlap[i] >= max(values) * (1 - 1e-4)]
        for i in chosen:
            if i not in owner or overlap[i] > owner[i][0]:
                owner[i] = (overlap[i], number)
    labels = [int(i in owner) for i in range(len(anchors))]
    return [owner[i][1] if i in owner else 0 for i in range(len(anchors))], labels


def _boxes(rng: np.random.Generator, count: int, size: tuple[int, int], kind: str) -> np.ndarray:
    corner = rng.uniform(0, 0.8, (count, 2)) * (size[1], size[0])
    shape = rng.uniform(6, 120, (count, 2))
    if kind == "thin":
        shape[np.arange(count), rng.integers(0, 2, count)] = rng.uniform(0.5, 5, count)
    boxes = np.concatenate([corner, corner + shape], axis=1)
    if kind == "whole":
        # Centers halfway between places, edges on centers, one box twice, one without area.
        boxes = np.round(boxes / 8) * 8
        boxes[-1] = boxes[0]
        boxes[1:2, 2] = boxes[1:2, 0]
    return boxes.astype(np.float32)


@pytest.mark.parametrize("low", [False, True])
@pytest.mark.parametrize("kind", ["any", "thin", "whole"])
@pytest.mark.parametrize("more", range(3))
def test_against_loops(more: int, kind: str, low: bool, fresh_seed: int) -> None:
    seed = fresh_seed + more
    rng = np.random.default_rng(seed)
    size, counts, topk = (120, 168), [9, 0, 1, 4], 3 + seed % 7
    grids, levels = _pyramid(size, ratios=(0.5, 1.0, 2.0)[: 1 + seed % 3])
    per_place = [level[2] for level in levels]
    boxes = [_boxes(rng, count, size, kind if count > 2 else "any") for count in counts]
    padded = torch.full((len(counts), max(counts), 4), 7.0)
    valid = torch.arange(max(counts)) < torch.tensor(counts)[:, None]
    for i, of_image in enumerate(boxes):
        padded[i, : len(of_image)] = torch.from_numpy(of_image)
    matches, labels = ATSSMatcher(topk, low).match_anchors(grids, per_place, padded, valid)
    assert matches.dtype == torch.int64
    assert labels.dtype == torch.int8
    for i, of_image in enumerate(boxes):
        wanted = _reference(levels, of_image.astype(np.float64), topk, low)
        assert (matches[i].tolist(), labels[i].tolist()) == wanted
    # By the paper alone, objects that are all thin may get none.
    assert labels[0].sum() > 0 or (kind == "thin" and not low)
    assert labels[1].sum() == 0


@pytest.mark.parametrize("low", [False, True])
def test_objects_take_what_the_paper_gives_them_by_hand(low: bool) -> None:
    # One row of square anchors of 8 pixels, 8 apart; three candidates with overlaps 1, 1/3 and 0 (at the left
    # edge there is one neighbor less): mean 4/9, deviation 0.509, so only the first is above 0.954.
    anchors = torch.tensor([[8.0 * i, 0, 8 * i + 8, 8] for i in range(6)])
    truth = torch.tensor([[[0.0, 0, 8, 8], [20, 1, 23, 1.5], [33, 6, 33, 6]]])
    every = torch.ones(1, 3, dtype=torch.bool)
    matches, labels = ATSSMatcher(3, low).match_anchors([anchors], [1], truth, every)
    # The second's candidates are 1, 2 and 3 (centers at 12, 20 and 28) with overlaps 0, 1.5/64 and 0, but no
    # center lies in it. The third has no area.
    assert labels.tolist() == [[1, 0, int(low), 0, 0, 0]]
    assert matches.tolist() == [[0, 0, int(low), 0, 0, 0]]


def test_levels_smaller_than_topk_and_equal_overlaps() -> None:
    # One place with three equal anchors: no deviation, and the mean is not above any of them.
    anchors = torch.tensor([[0.0, 0, 9, 7]] * 3)
    truth = torch.tensor([[[1.0, 1, 8, 8.5]]])
    _, labels = ATSSMatcher(9).match_anchors([anchors], [3], truth, torch.ones(1, 1, dtype=torch.bool))
    assert labels.tolist() == [[1, 1, 1]]
    _, labels = ATSSMatcher(9).match_anchors([anchors[:1]], [1], truth, torch.ones(1, 1, dtype=torch.bool))
    assert labels.tolist() == [[1]]


def test_an_anchor_of_two_objects_goes_to_the_one_it_overlaps_most() -> None:
    anchors = torch.tensor([[0.0, 0, 10, 10], [40, 0, 50, 10]])
    truth = torch.tensor([[[0.0, 0, 10, 8], [0, 0, 10, 9], [0, 0, 10, 9]]])
    matches, labels = ATSSMatcher(1).match_anchors([anchors], [1], truth, torch.ones(1, 3, dtype=torch.bool))
    assert (matches.tolist(), labels.tolist()) == ([[1, 0]], [[1, 0]])


def test_ten_thousand_anchors_in_parts(fresh_seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(fresh_seed)
    size = (240, 330)
    grids, levels = _pyramid(size, strides=(4, 8, 16, 32))
    assert sum(map(len, grids)) > 10_000
    boxes = _boxes(rng, 12, size, "any")
    truths, valid = torch.from_numpy(boxes)[None], torch.ones(1, 12, dtype=torch.bool)
    whole = ATSSMatcher(9).match_anchors(grids, [3] * 4, truths, valid)
    monkeypatch.setattr(atss, "_MAX_PAIRS", 10_000)
    parts = ATSSMatcher(9).match_anchors(grids, [3] * 4, truths, valid)
    assert all(map(torch.equal, whole, parts))
    assert (parts[0][0].tolist(), parts[1][0].tolist()) == _reference(levels, boxes.astype(float), 9, False)


def test_memory_is_bounded() -> None:
    # 200,000 anchors, 100 objects: never more than so many distances at once.
    sizes: list[int] = []

    class _Watch(torch.utils._python_dispatch.TorchDispatchMode):
        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            result = func(*args, **(kwargs or {}))
            sizes.append(max((t.numel() for t in [result] if isinstance(t, torch.Tensor)), default=0))
            return result

    grids, _ = _pyramid((1024, 1024), ratios=(1.0,), strides=(2, 4))
    grids = [grid.to("meta") for grid in grids]
    truths = torch.rand(1, 100, 4, device="meta")
    with _Watch():
        ATSSMatcher(9).match_anchors(grids, [1, 1], truths, torch.ones(1, 100, dtype=bool, device="meta"))
    assert sum(map(len, grids)) > 200_000
    assert max(sizes) <= 2 * atss._MAX_PAIRS


@pytest.mark.parametrize("fixed", [False, True])
def test_the_rpn_learns_by_it(tiny_cfg: Make, sample: Make, fixed: bool) -> None:
    options = {"MODEL.RPN.ASSIGNER": "atss", "MODEL.RPN.ATSS_TOPK": 5, "MODEL.RPN.BOUNDARY_THRESH": 0}
    model = build_model(tiny_cfg(**options))
    rpn = model.proposal_generator
    batch = [sample(5, 3), sample(6, 0), sample(7, 2, (64, 100))]
    with force_fixed_shapes(fixed), EventStorage():
        losses = model(batch)
        truth = TargetBatch.of([x["instances"] for x in batch])
        features = model.backbone(model.preprocess_image(batch).tensor)
        anchors = rpn.anchor_generator([features[name] for name in rpn.in_features])
        matches, labels = rpn._match_anchors(anchors, truth)
    assert all(torch.isfinite(loss) for loss in losses.values())
    losses["loss_rpn_cls"].backward()
    assert rpn.rpn_head.objectness_logits.weight.grad.abs().sum() > 0
    flat = torch.cat([a.tensor for a in anchors])
    grids = [a.tensor for a in anchors]
    wanted = ATSSMatcher(5, True).match_anchors(grids, [3] * len(grids), truth.boxes, truth.valid)[1]
    sizes = torch.tensor([x["image"].shape[1:] for x in batch])
    inside = (flat[:, :2] >= 0).all(1) & (flat[:, 2:] < sizes.flip(1)[:, None]).all(2)
    assert torch.equal(labels, wanted.masked_fill(~inside, -1))
    assert (labels[0] == 1).any()
    assert not (labels[1] == 1).any()


def test_levels_of_generators_of_ones_own(tiny_cfg: Make) -> None:
    rpn = build_model(tiny_cfg(**{"MODEL.RPN.ASSIGNER": "atss"})).proposal_generator

    class _Own(torch.nn.Module):
        def forward(self, maps: Sequence[torch.Tensor]) -> list[Boxes]:
            return [
                Boxes(torch.tensor([[0.0, 0, 32, 32]]).repeat(m.shape[2] * m.shape[3] * 3, 1)) for m in maps
            ]

    rpn.anchor_generator = _Own()
    target = Instances((64, 64), gt_boxes=Boxes(torch.tensor([[1.0, 1, 30, 30]])))
    features = {name: torch.zeros(1, 32, 4, 4) for name in rpn.in_features}
    with EventStorage():
        _, losses = rpn.train()(ImageList(torch.zeros(1, 3, 64, 64), [(64, 64)]), features, [target])
    assert all(torch.isfinite(loss) for loss in losses.values())


@pytest.mark.parametrize(("key", "value"), [("ASSIGNER", "iou"), ("ATSS_TOPK", 0)])
def test_bad_values_are_refused(key: str, value: Any) -> None:
    cfg = get_cfg()
    cfg.MODEL.RPN[key] = value
    with pytest.raises(ConfigValueError, match=rf"MODEL.RPN.{key} is {value!r}; it must be"):
        validate_cfg(cfg)
