"""Index streams against plain reimplementations on a torch.Generator."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator
from typing import Any

import pytest
import torch

from cardamage.data.samplers import (
    InferenceSampler,
    RandomSubsetTrainingSampler,
    RepeatFactorTrainingSampler,
    TrainingSampler,
)
from cardamage.utils import comm


def _take(stream: Iterable[int], count: int) -> list[int]:
    return list(itertools.islice(iter(stream), count))


def _generator(seed: int) -> torch.Generator:
    generator = torch.Generator()
    generator.manual_seed(seed)
    return generator


@pytest.mark.parametrize("seed", [-1, 0, 42, 2**40])
@pytest.mark.parametrize("size", [1, 2, 17])
def test_training_stream_is_permutations_of_one_generator(size: int, seed: int) -> None:
    generator = _generator(seed)
    wanted = torch.cat([torch.randperm(size, generator=generator) for _ in range(5)]).tolist()
    sampler = TrainingSampler(size, seed=seed)
    assert _take(sampler, 5 * size) == wanted
    assert _take(sampler, 5 * size) == wanted  # each pass begins anew
    assert sampler.seed == seed
    assert _take(TrainingSampler(size, shuffle=False), 3 * size) == list(range(size)) * 3


def test_streams_recorded_from_detectron2() -> None:
    assert _take(TrainingSampler(7, seed=1), 14) == [0, 6, 1, 3, 5, 2, 4, 0, 6, 1, 3, 2, 4, 5]
    subset = RandomSubsetTrainingSampler(12, 0.4, seed_shuffle=2, seed_subset=3)
    assert _take(subset, 14) == [10, 9, 6, 1, 10, 6, 9, 1, 1, 10, 9, 6, 6, 9]
    repeats = RepeatFactorTrainingSampler(torch.tensor([1.0, 0.5, 2.25, 1.0]), seed=4)
    assert _take(repeats, 14) == [3, 2, 0, 2, 2, 3, 2, 2, 0, 2, 2, 3, 2, 0]


@pytest.mark.parametrize("world", [1, 2, 3])
def test_ranks_deal_the_stream_out(world: int, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = _take(TrainingSampler(10, seed=3), 30)
    parts = []
    for rank in range(world):
        monkeypatch.setattr(comm, "get_rank", lambda rank=rank: rank)
        monkeypatch.setattr(comm, "get_world_size", lambda: world)
        parts.append(_take(TrainingSampler(10, seed=3), 30 // world))
    assert list(itertools.chain(*zip(*parts, strict=True))) == whole


def test_a_seed_is_drawn_when_none_is_given() -> None:
    assert _take(TrainingSampler(1000), 20) != _take(TrainingSampler(1000), 20)


@pytest.mark.parametrize(("size", "error"), [(0, ValueError), (-3, ValueError), (2.5, TypeError)])
def test_a_size_must_be_a_positive_int(size: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match="TrainingSampler needs"):
        TrainingSampler(size)


@pytest.mark.parametrize("shuffle", [True, False])
def test_a_subset_stays_the_same_and_is_shuffled(shuffle: bool) -> None:
    subset = torch.randperm(20, generator=_generator(5))[:6]
    generator = _generator(9)
    orders = [torch.randperm(6, generator=generator) if shuffle else torch.arange(6) for _ in range(3)]
    wanted = torch.cat([subset[order] for order in orders]).tolist()
    sampler = RandomSubsetTrainingSampler(20, 0.3, shuffle, seed_shuffle=9, seed_subset=5)
    assert _take(sampler, 18) == wanted


@pytest.mark.parametrize("ratio", [0.0, 0.01, 1.5, -1])
def test_a_subset_must_have_something(ratio: float) -> None:
    with pytest.raises(ValueError, match="subset ratio"):
        RandomSubsetTrainingSampler(20, ratio)


def _repeat_stream(factors: list[float], seed: int) -> Iterator[int]:
    generator = _generator(seed)
    exact = torch.tensor(factors)
    while True:
        draws = torch.rand(len(factors), generator=generator)
        epoch: list[int] = []
        for index, (factor, draw) in enumerate(zip(exact, draws, strict=True)):
            whole = math.floor(float(factor))
            epoch += [index] * (whole + int(float(draw) < float(factor - whole)))
        order = torch.randperm(len(epoch), generator=generator).tolist()
        yield from (epoch[place] for place in order)


@pytest.mark.parametrize("seed", range(5))
def test_repeat_factors_are_rounded_at_random_each_pass(seed: int) -> None:
    factors = (torch.rand(13, generator=_generator(seed + 100)) * 4).tolist()
    sampler = RepeatFactorTrainingSampler(torch.tensor(factors), seed=seed)
    assert _take(sampler, 300) == _take(_repeat_stream(factors, seed), 300)


def test_repeat_factors_are_met_on_average() -> None:
    factors = torch.tensor([1.0, 1.5, 3.25])
    sampler = RepeatFactorTrainingSampler(factors, seed=0)
    drawn = torch.bincount(torch.tensor(_take(sampler, 23000)), minlength=3) / 23000
    assert torch.allclose(drawn, factors / factors.sum(), atol=0.01)


@pytest.mark.parametrize("factors", [[0.0, 0.0], [1.0, -1.0]])
def test_repeat_factors_must_give_something(factors: list[float]) -> None:
    with pytest.raises(ValueError, match="Repeat factors"):
        RepeatFactorTrainingSampler(torch.tensor(factors))


def test_an_image_repeats_as_its_rarest_class_asks() -> None:
    classes = [[0], [0], [0, 1], [0, 2], [], [0], [0], [0, 1], [0], [0]]  # of 10: 0 in 9, 1 in 2, 2 in 1
    records = [{"annotations": [{"category_id": c} for c in image for _ in range(2)]} for image in classes]
    factors = RepeatFactorTrainingSampler.repeat_factors_from_category_frequency
    rare, rarer = math.sqrt(0.4 / 0.2), math.sqrt(0.4 / 0.1)
    wanted = torch.tensor([1, 1, rare, rarer, 1, 1, 1, rare, 1, 1])
    torch.testing.assert_close(factors(records, 0.4), wanted)
    torch.testing.assert_close(factors(records, 0.4, sqrt=False), wanted**2)
    assert factors(records, 0.0).unique().tolist() == [1.0]


@pytest.mark.parametrize(("size", "world"), [(1, 1), (10, 3), (2, 4), (8, 4)])
def test_inference_covers_every_index_once_in_order(size: int, world: int) -> None:
    parts = [InferenceSampler._get_local_indices(size, world, rank) for rank in range(world)]
    assert list(itertools.chain(*parts)) == list(range(size))
    assert max(map(len, parts)) - min(map(len, parts)) <= 1
    sampler = InferenceSampler(size)
    assert list(sampler) == list(range(size))
    assert len(sampler) == size


def test_inference_on_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="no samples"):
        InferenceSampler(0)


@pytest.mark.parametrize(
    ("size", "world", "wanted"),
    [
        (7, 3, [[0, 1, 2], [3, 4], [5, 6]]),
        (2, 4, [[0], [1], [], []]),
        (6, 2, [[0, 1, 2], [3, 4, 5]]),
    ],
)
def test_inference_parts_by_hand(
    size: int, world: int, wanted: list[list[int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(comm, "get_world_size", lambda: world)
    for rank, part in enumerate(wanted):
        monkeypatch.setattr(comm, "get_rank", lambda rank=rank: rank)
        sampler = InferenceSampler(size)
        assert list(sampler) == part
        assert len(sampler) == len(part)


def test_a_pass_rounds_each_factor_up_as_often_as_its_fraction_says() -> None:
    # r = 2.3: in a pass the image comes 3 times with probability 0.3, else twice (LVIS, appendix B.2).
    factors = torch.tensor([1.0, 2.3, 0.75])
    sampler = RepeatFactorTrainingSampler(factors, shuffle=False, seed=11)
    generator = _generator(11)
    table = torch.stack([torch.bincount(sampler._epoch(generator), minlength=3) for _ in range(4000)])
    assert [sorted(set(column.tolist())) for column in table.T] == [[1], [2, 3], [0, 1]]
    # Four standard deviations of a share of 4000 draws.
    assert abs((table[:, 1] == 3).double().mean() - 0.3) < 4 * math.sqrt(0.3 * 0.7 / 4000)
    assert abs((table[:, 2] == 1).double().mean() - 0.75) < 4 * math.sqrt(0.75 * 0.25 / 4000)
