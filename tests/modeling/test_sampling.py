from __future__ import annotations

import pytest
import torch

from cardamage.modeling.batch import force_fixed_shapes
from cardamage.modeling.sampling import sample_batch, subsample_labels

BACKGROUND = 7
FIXED = pytest.mark.parametrize("fixed", [False, True], ids=["compact", "fixed"])


def _labels(positives: int, negatives: int, ignored: int) -> torch.Tensor:
    parts = [torch.arange(positives) % BACKGROUND, torch.full((negatives,), BACKGROUND)]
    labels = torch.cat([*parts, torch.full((ignored,), -1)])
    return labels[torch.randperm(len(labels))]


@pytest.mark.parametrize(
    "counts", [(0, 0, 0), (0, 0, 3), (1, 0, 0), (0, 5, 2), (10, 0, 2), (3, 50, 5), (40, 3, 0)]
)
@pytest.mark.parametrize(("num", "fraction"), [(16, 0.25), (16, 0.5), (1, 0.25), (1000, 0.5)])
def test_counts_are_the_balanced_ones(counts: tuple[int, int, int], num: int, fraction: float) -> None:
    labels = _labels(*counts)
    positive, negative = subsample_labels(labels, num, fraction, BACKGROUND)
    expected = min(counts[0], int(num * fraction))
    assert len(positive) == expected
    assert len(negative) == min(counts[1], num - expected)
    assert ((labels[positive] >= 0) & (labels[positive] < BACKGROUND)).all()
    assert (labels[negative] == BACKGROUND).all()
    assert len(set(positive.tolist()) | set(negative.tolist())) == len(positive) + len(negative)


@FIXED
def test_batch_places_foreground_first_and_gaps_last(fixed: bool) -> None:
    labels = torch.stack([_labels(3, 50, 7), _labels(40, 3, 17), _labels(0, 0, 60)])
    with force_fixed_shapes(fixed):
        index, valid = sample_batch(labels, 16, 0.5, BACKGROUND)
    assert index.shape == valid.shape == (3, 16)
    assert valid.sum(dim=1).tolist() == [16, 11, 0]
    foreground = (labels.gather(1, index) < BACKGROUND) & valid
    assert foreground.sum(dim=1).tolist() == [3, 8, 0]
    for row in (foreground, valid):
        assert (row[:, :-1] | ~row[:, 1:]).all()


@FIXED
def test_every_candidate_is_equally_likely(fixed: bool) -> None:
    torch.manual_seed(0)
    rows = 5000
    labels = torch.full((rows, 10), BACKGROUND)
    labels[:, :4] = 0
    with force_fixed_shapes(fixed):
        index, valid = sample_batch(labels, 4, 0.5, BACKGROUND)
    assert valid.all()
    drawn = torch.bincount(index.flatten(), minlength=10) / rows
    # Binomial with 5000 draws: four standard deviations are under 0.029.
    torch.testing.assert_close(drawn, torch.tensor([2 / 4] * 4 + [2 / 6] * 6), atol=0.029, rtol=0)


def test_rows_of_a_batch_are_drawn_one_after_the_other() -> None:
    labels = torch.stack([_labels(3, 50, 7), _labels(40, 3, 17), _labels(0, 0, 60)])
    torch.manual_seed(5)
    index, valid = sample_batch(labels, 16, 0.5, BACKGROUND)
    torch.manual_seed(5)
    for row, found, used in zip(labels, index, valid, strict=True):
        expected = torch.cat(subsample_labels(row, 16, 0.5, BACKGROUND))
        assert found[used].tolist() == expected.tolist()
