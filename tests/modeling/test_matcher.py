from __future__ import annotations

import numpy as np
import pytest
import torch

from cardamage.errors import ConfigValueError
from cardamage.modeling.matcher import Matcher, batched_iou

Pair = tuple[torch.Tensor, torch.Tensor]


def _reference(
    quality: np.ndarray, thresholds: list[float], labels: list[int], low: bool
) -> tuple[list, list]:
    """The rule, prediction by prediction."""
    matches, found = [], []
    for column in quality.T:
        matches.append(int(column.argmax()) if len(column) else 0)
        best = column.max() if len(column) else -1
        label = labels[sum(best >= t for t in thresholds)]
        if low and any(column[g] == quality[g].max() for g in range(len(column))):
            label = 1
        found.append(label)
    return matches, found


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("low", [False, True])
@pytest.mark.parametrize(("gts", "preds"), [(0, 4), (1, 1), (3, 0), (4, 20)])
def test_single_image(seed: int, low: bool, gts: int, preds: int) -> None:
    rng = np.random.default_rng(seed)
    # Few distinct values, so that ties and values on a threshold are common.
    quality = rng.choice([0.0, 0.125, 0.25, 0.5, 0.75], (gts, preds))
    matcher = Matcher([0.25, 0.5], [0, -1, 1], allow_low_quality_matches=low)
    matches, labels = matcher(torch.from_numpy(quality))
    expected = _reference(quality, [0.25, 0.5], [0, -1, 1], low)
    assert (matches.tolist(), labels.tolist()) == expected
    assert labels.dtype == torch.int8


@pytest.mark.parametrize("seed", range(5))
def test_padded_batch_equals_each_image(seed: int) -> None:
    rng = np.random.default_rng(seed)
    matcher = Matcher([0.3, 0.7], [0, -1, 1], allow_low_quality_matches=True)
    counts, preds = [0, 2, 5], [6, 0, 9]
    quality = torch.from_numpy(rng.uniform(0, 1, (3, 5, 9)))
    gt_valid = torch.arange(5) < torch.tensor(counts)[:, None]
    pred_valid = torch.arange(9) < torch.tensor(preds)[:, None]
    matches, labels = matcher.match_batch(quality, gt_valid, pred_valid)
    for i, (m, p) in enumerate(zip(counts, preds, strict=True)):
        expected_matches, expected_labels = matcher(quality[i, :m, :p])
        assert torch.equal(labels[i, :p], expected_labels)
        assert (labels[i, p:] == -1).all()
        if m:
            assert torch.equal(matches[i, :p], expected_matches)


@pytest.mark.parametrize(
    ("thresholds", "labels"), [([], [1]), ([0.0], [0, 1]), ([0.7, 0.3], [0, -1, 1]), ([0.5], [0, 2])]
)
def test_bad_rules_are_refused(thresholds: list[float], labels: list[int]) -> None:
    with pytest.raises(ConfigValueError, match="IOU_"):
        Matcher(thresholds, labels)


@pytest.mark.parametrize("seed", range(3))
def test_iou_against_float64(seed: int) -> None:
    rng = np.random.default_rng(seed)
    corner = rng.integers(0, 20, (2, 7, 2))
    # Sizes of 0 among them: empty boxes overlap nothing.
    boxes = np.concatenate([corner, corner + rng.integers(0, 15, (2, 7, 2))], axis=2).astype(np.float64)
    found = batched_iou(torch.from_numpy(boxes[:, :3]).float(), torch.from_numpy(boxes[:, 3:]).float())
    for image in range(2):
        for i, a in enumerate(boxes[image, :3]):
            for j, b in enumerate(boxes[image, 3:]):
                w = min(a[2], b[2]) - max(a[0], b[0])
                h = min(a[3], b[3]) - max(a[1], b[1])
                inter = max(w, 0) * max(h, 0)
                union = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - inter
                assert found[image, i, j].item() == pytest.approx(inter / union if inter else 0, abs=1e-6)


def _matched(quality: torch.Tensor, thresholds: list[float], labels: list[int], low: bool) -> Pair:
    return Matcher(thresholds, labels, low)(quality)


@pytest.mark.parametrize("low", [False, True])
@pytest.mark.parametrize(("gts", "preds"), [(0, 4), (3, 0), (4, 20)])
def test_scripted(low: bool, gts: int, preds: int) -> None:
    quality = torch.rand(gts, preds)
    arguments = (quality, [0.3, 0.7], [0, -1, 1], low)
    found, expected = torch.jit.script(_matched)(*arguments), _matched(*arguments)
    assert torch.equal(found[0], expected[0])
    assert torch.equal(found[1], expected[1])
