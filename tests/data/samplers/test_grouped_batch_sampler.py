"""Batches of indices against a plain two-bucket stream."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np
import pytest
from torch.utils.data import SequentialSampler

from cardamage.data.samplers import (
    GroupedBatchSampler,
    PositionedBatchSampler,
    SamplePosition,
    TrainingSampler,
)
from cardamage.utils import comm


def _buckets(indices: Iterator[int], groups: list[int], size: int) -> Iterator[list[int]]:
    """Fill one list for each group; give a list away when it is full."""
    full: dict[int, list[int]] = {0: [], 1: []}
    for index in indices:
        full[groups[index]].append(index)
        if len(full[groups[index]]) == size:
            yield full[groups[index]]
            full[groups[index]] = []


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("size", [1, 3, 8])
def test_order_is_that_of_a_bucket_for_each_group(seed: int, size: int) -> None:
    groups = np.random.default_rng(seed).integers(0, 2, 37)
    wanted = list(itertools.islice(_buckets(iter(TrainingSampler(37, seed=seed)), groups.tolist(), size), 50))
    grouped = GroupedBatchSampler(TrainingSampler(37, seed=seed), groups, size)
    assert list(itertools.islice(grouped, 50)) == wanted
    placed = PositionedBatchSampler(TrainingSampler(37, seed=seed), size, group_ids=groups)
    batches = list(itertools.islice(placed, 50))
    assert [[sample.item for sample in batch] for batch in batches] == wanted
    stream = list(itertools.islice(TrainingSampler(37, seed=seed), 50 * size * 3))
    assert all(stream[sample.position] == sample.item for batch in batches for sample in batch)


@pytest.mark.parametrize("grouped", [True, False])
@pytest.mark.parametrize("start", [0, 1, 25])
def test_any_batch_can_be_the_first(start: int, grouped: bool) -> None:
    groups = np.arange(11) % 2 if grouped else None
    whole = PositionedBatchSampler(TrainingSampler(11, seed=1), 4, group_ids=groups)
    rest = PositionedBatchSampler(TrainingSampler(11, seed=1), 4, group_ids=groups, start_batch=start)
    assert list(itertools.islice(rest, 10)) == list(itertools.islice(whole, start, start + 10))


@pytest.mark.parametrize(("drop_last", "wanted"), [(True, [4, 4]), (False, [4, 4, 2])])
def test_a_finite_sampler_ends(drop_last: bool, wanted: list[int]) -> None:
    batches = PositionedBatchSampler(SequentialSampler(range(10)), 4, drop_last=drop_last)
    assert [len(batch) for batch in batches] == wanted
    assert len(batches) == len(wanted)
    batches.start_batch = 1
    assert len(list(batches)) == len(batches) == len(wanted) - 1


def _shapes(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).choice([0.5625, 0.66, 0.75, 1.0, 1.33, 1.78], count)


@pytest.mark.parametrize("size", [1, 3, 4])
def test_near_ratios_come_together_and_nobody_is_lost(size: int) -> None:
    ratios = _shapes(200)
    sampler = PositionedBatchSampler(TrainingSampler(200, seed=2), size, ratios=ratios, seed=5)
    batches = list(itertools.islice(sampler, 48))
    stream = list(itertools.islice(TrainingSampler(200, seed=2), 48 * size))
    for window in range(0, 48, 8):
        taken = sorted(s.position for batch in batches[window : window + 8] for s in batch)
        assert taken == list(range(window * size, (window + 8) * size))
        spans = [{ratios[s.item] for s in batch} for batch in batches[window : window + 8]]
        whole = sorted(ratios[stream[p]] for p in taken)
        assert sorted(map(sorted, spans)) == sorted(
            sorted(set(whole[k : k + size])) for k in range(0, len(whole), size)
        )
    assert all(stream[s.position] == s.item and s.batch is None for batch in batches for s in batch)
    order = [np.mean([ratios[s.item] for s in batch]) for batch in batches]
    assert order[:8] != sorted(order[:8])


def test_less_is_padding_among_near_ratios() -> None:
    ratios = _shapes(400)

    def padding(batches: Iterator[list[SamplePosition]]) -> float:
        used = padded = 0.0
        for batch in itertools.islice(batches, 48):
            own = ratios[[sample.item for sample in batch]]
            heights, widths = np.maximum(1, own), np.maximum(1, 1 / own)
            used += (heights * widths).sum()
            padded += len(own) * heights.max() * widths.max()
        return 1 - used / padded

    coarse = PositionedBatchSampler(TrainingSampler(400, seed=0), 8, group_ids=ratios < 1)
    fine = PositionedBatchSampler(TrainingSampler(400, seed=0), 8, ratios=ratios)
    assert padding(iter(fine)) < 0.5 * padding(iter(coarse))


@pytest.mark.parametrize("start", [0, 3, 17])
def test_any_batch_of_near_ratios_can_be_the_first(start: int) -> None:
    def make(**kwargs: int) -> PositionedBatchSampler:
        stream = TrainingSampler(90, seed=1)
        return PositionedBatchSampler(stream, 4, ratios=_shapes(90), share_draws=True, **kwargs)

    wanted = list(itertools.islice(make(), start, start + 12))
    assert list(itertools.islice(make(start_batch=start), 12)) == wanted
    assert [{sample.batch for sample in batch} for batch in wanted] == [{start + n} for n in range(12)]


def test_few_photos_do_not_meet_themselves() -> None:
    sampler = PositionedBatchSampler(TrainingSampler(12, seed=1), 4, ratios=_shapes(12))
    for batch in itertools.islice(sampler, 3):
        assert len({sample.item for sample in batch}) == 4


def test_ranks_get_batches_of_like_shape(monkeypatch: pytest.MonkeyPatch) -> None:
    ratios = _shapes(300)
    means = []
    for rank in range(2):
        monkeypatch.setattr(comm, "get_rank", lambda rank=rank: rank)
        monkeypatch.setattr(comm, "get_world_size", lambda: 2)
        sampler = PositionedBatchSampler(TrainingSampler(300, seed=1), 4, ratios=ratios, seed=3)
        first = list(itertools.islice(sampler, 64))
        means.append([np.mean([ratios[s.item] for s in batch]) for batch in first])
    assert np.corrcoef(means)[0, 1] > 0.8


def test_finite_samplers_drop_what_fills_no_batch() -> None:
    sampler = PositionedBatchSampler(SequentialSampler(range(45)), 4, ratios=_shapes(45))
    batches = list(sampler)
    assert len(batches) == len(sampler) == 11
    assert sorted(sample.item for batch in batches for sample in batch) == list(range(44))


def test_an_unknown_length_is_a_type_error() -> None:
    with pytest.raises(TypeError):
        len(PositionedBatchSampler(TrainingSampler(3), 2))
    with pytest.raises(TypeError, match="grouped"):
        len(PositionedBatchSampler(SequentialSampler(range(10)), 4, group_ids=np.zeros(10)))


def test_places_are_those_of_the_whole_job(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(comm, "get_rank", lambda: 1)
    monkeypatch.setattr(comm, "get_world_size", lambda: 3)
    batch = next(iter(PositionedBatchSampler(TrainingSampler(50, seed=0), 4)))
    assert [sample.position for sample in batch] == [1, 4, 7, 10]


def test_wrong_arguments_are_refused() -> None:
    with pytest.raises(ValueError, match="needs a torch Sampler; got list"):
        GroupedBatchSampler([1, 2], [0, 0, 0], 2)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="must be a vector"):
        GroupedBatchSampler(TrainingSampler(4), np.zeros((2, 2)), 2)


def test_the_order_by_hand() -> None:
    # Wide pictures are 0, 1, 4, 5, 7; high ones 2, 3, 6. A batch comes with its last picture.
    groups = [0, 0, 1, 1, 0, 0, 1, 0]
    stream = SequentialSampler(range(8))
    assert list(GroupedBatchSampler(stream, groups, 2)) == [[0, 1], [2, 3], [4, 5]]  # 6 and 7 wait for others
    assert list(GroupedBatchSampler(stream, groups, 3)) == [[0, 1, 4], [2, 3, 6]]


@pytest.mark.parametrize("rank", [0, 1])
def test_each_rank_groups_its_own_part(rank: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(comm, "get_rank", lambda: rank)
    monkeypatch.setattr(comm, "get_world_size", lambda: 2)
    # Every second picture is the rank's: 0, 2, 4, 6, 0, ... or 1, 3, 5, 7, 1, ...
    groups = np.array([0, 0, 1, 1, 0, 0, 1, 0])
    batches = PositionedBatchSampler(TrainingSampler(8, shuffle=False, seed=0), 2, group_ids=groups)
    wanted = [[[0, 4], [2, 6], [0, 4]], [[1, 5], [7, 1], [3, 3]]][rank]
    assert [[sample.item for sample in batch] for batch in itertools.islice(batches, 3)] == wanted
