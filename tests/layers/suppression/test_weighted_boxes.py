"""Weighted box fusion against a plain float64 loop over the paper's steps."""

from __future__ import annotations

import random

import pytest
import torch

from cardamage.layers.suppression import fuse_weighted_boxes

from .test_overlaps import iou

SEED = random.randrange(10**6)
# Names of tests must be the same in all processes that run them.
FRESH = pytest.param(SEED, id="fresh")


def _reference(
    boxes: list[list[float]], scores: list[float], views: int, threshold: float
) -> list[tuple[list[float], float]]:
    clusters: list[list[int]] = []
    fused: list[list[float]] = []
    for place, box in enumerate(boxes):
        found = [iou(other, box) for other in fused]
        best = max(range(len(found)), key=lambda number: found[number], default=-1)
        if best < 0 or found[best] <= threshold:
            best = len(clusters)
            clusters.append([])
            fused.append([])
        clusters[best].append(place)
        weight = sum(scores[member] for member in clusters[best])
        sides = zip(*([scores[m] * side for side in boxes[m]] for m in clusters[best]), strict=True)
        fused[best] = [sum(side) / weight for side in sides]
    means = [sum(scores[m] for m in members) / len(members) for members in clusters]
    shares = [min(len(members), views) / views for members in clusters]
    return [(box, mean * share) for box, mean, share in zip(fused, means, shares, strict=True)]


def _groups(
    groups: int, size: int, seed: int, dtype: torch.dtype
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Boxes around a few objects, some of them equal, by falling score, with equal scores among them."""
    generator = torch.Generator().manual_seed(seed)
    objects = torch.rand(groups, 6, 4, generator=generator, dtype=dtype) * 60
    objects[..., 2:] += objects[..., :2] + 10
    chosen = torch.randint(6, (groups, size, 1), generator=generator).expand(-1, -1, 4)
    shaken = torch.randint(-4, 5, (groups, size, 4), generator=generator).to(dtype)
    boxes = objects.gather(1, chosen) + shaken
    scores = torch.randint(1, 30, (groups, size), generator=generator).to(dtype) / 30
    alive = torch.rand(groups, size, generator=generator) < 0.8
    boxes[~alive] = torch.nan
    return boxes, scores.sort(dim=1, descending=True).values, alive


@pytest.mark.parametrize("seed", [0, 1, FRESH])
@pytest.mark.parametrize(("groups", "size"), [(1, 1), (4, 30), (3, 120)])
@pytest.mark.parametrize("threshold", [0.0, 0.55, 0.8])
def test_equals_a_plain_loop(seed: int, groups: int, size: int, threshold: float) -> None:
    boxes, scores, alive = _groups(groups, size, seed, torch.float64)
    views = torch.randint(1, 20, (groups,), generator=torch.Generator().manual_seed(seed))
    fused, final, used = fuse_weighted_boxes(boxes, scores, alive, views, threshold)
    for row in range(groups):
        part = alive[row]
        expected = _reference(
            boxes[row, part].tolist(), scores[row, part].tolist(), int(views[row]), threshold
        )
        assert used[row].tolist() == [place < len(expected) for place in range(size)]
        for place, (box, score) in enumerate(expected):
            assert fused[row, place].tolist() == pytest.approx(box, rel=1e-9)
            assert final[row, place].item() == pytest.approx(score, rel=1e-9)


def test_two_views_by_hand() -> None:
    boxes = torch.tensor([[[0.0, 0, 10, 10], [0, 0, 10, 8], [50, 50, 60, 60]]])
    scores = torch.tensor([[0.75, 0.25, 0.2]])
    fused, final, used = fuse_weighted_boxes(
        boxes, scores, torch.ones(1, 3, dtype=torch.bool), torch.tensor([2])
    )
    assert used.tolist() == [[True, True, False]]
    assert fused[0, :2].tolist() == [[0, 0, 10, 9.5], [50, 50, 60, 60]]
    # The first was found in both views, the other in one of two.
    torch.testing.assert_close(final[0, :2], torch.tensor([0.5, 0.1]))


def test_edges() -> None:
    for shape in ((0, 5), (2, 0), (2, 3)):
        none = torch.zeros(shape, dtype=torch.bool)
        views = torch.ones(shape[0], dtype=torch.int64)
        fused, final, used = fuse_weighted_boxes(torch.zeros(*shape, 4), torch.ones(shape), none, views)
        assert (fused.shape, final.shape) == ((*shape, 4), shape)
        assert not used.any()
    half = torch.rand(1, 2, 4).half(), torch.ones(1, 2).half(), torch.ones(1, 2, dtype=torch.bool)
    assert fuse_weighted_boxes(*half, torch.ones(1))[0].dtype == torch.float32


def test_ten_thousand_boxes() -> None:
    """One hundred boxes of each of 100 classes, each about the same object in its own class."""
    generator = torch.Generator().manual_seed(SEED)
    boxes = torch.tensor([100.0, 100, 300, 300]) + torch.randn(100, 100, 4, generator=generator)
    scores = torch.rand(100, 100, generator=generator).sort(dim=1, descending=True).values + 0.01
    alive = torch.ones(100, 100, dtype=torch.bool)
    fused, final, used = fuse_weighted_boxes(boxes, scores, alive, torch.full((100,), 100))
    assert used.sum(dim=1).tolist() == [1] * 100
    expected = (boxes * scores[..., None]).sum(dim=1) / scores.sum(dim=1, keepdim=True)
    torch.testing.assert_close(fused[:, 0], expected)
    torch.testing.assert_close(final[:, 0], scores.mean(dim=1))
