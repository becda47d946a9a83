"""The share of pictures without objects, over any sampler."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

import pytest
import torch

from cardamage.data.samplers import (
    BackgroundSampler,
    ClassAwareSampler,
    RandomSubsetTrainingSampler,
    RepeatFactorTrainingSampler,
    TrainingSampler,
)
from cardamage.utils import comm

OBJECTS = 30
SAMPLERS: dict[str, Callable[[int], Any]] = {
    "shuffled": lambda seed: TrainingSampler(OBJECTS, seed=seed),
    "repeated": lambda seed: RepeatFactorTrainingSampler(torch.linspace(0.5, 3, OBJECTS), seed=seed),
    "by_class": lambda seed: ClassAwareSampler([{i % 4} for i in range(OBJECTS)], seed=seed),
    "subset": lambda seed: RandomSubsetTrainingSampler(OBJECTS, 0.5, seed_shuffle=seed, seed_subset=1),
}


def _take(stream: Iterable[int], count: int) -> list[int]:
    return list(itertools.islice(iter(stream), count))


@pytest.mark.parametrize("ratio", [0.05, 0.3, 0.29, 0.9])
@pytest.mark.parametrize("kind", list(SAMPLERS))
def test_exactly_so_many_of_every_hundred(kind: str, ratio: float, fresh_seed: int) -> None:
    pool = range(OBJECTS, OBJECTS + 7)
    drawn = _take(BackgroundSampler(SAMPLERS[kind](fresh_seed), pool, ratio), 2000)
    for start in range(0, 2000, 100):
        assert sum(i in pool for i in drawn[start : start + 100]) == round(100 * ratio)
    # What is between them are the two streams, each in its own order.
    objects = [i for i in drawn if i not in pool]
    assert objects == _take(SAMPLERS[kind](fresh_seed), len(objects))
    background = [i for i in drawn if i in pool]
    for start in range(0, len(background) - 6, 7):
        assert sorted(background[start : start + 7]) == list(pool)


@pytest.mark.parametrize("ratio", [0.001, 1 / 3, 0.005, 0.777])
def test_other_shares_are_met_over_several_hundreds(ratio: float) -> None:
    drawn = _take(BackgroundSampler(TrainingSampler(5, seed=1), [5], ratio), 5_000)
    for end in range(100, 5_001, 100):
        assert abs(drawn[:end].count(5) - ratio * end) <= 1


def test_places_are_uniform(fresh_seed: int) -> None:
    drawn = _take(BackgroundSampler(TrainingSampler(5, seed=fresh_seed), [5], 0.25), 80_000)
    counts = Counter(place % 100 for place, index in enumerate(drawn) if index == 5)
    assert sum(counts.values()) == 20_000
    square = sum((counts[place] - 200) ** 2 / 200 for place in range(100))
    assert square < 99 + 8 * math.sqrt(2 * 99) + 20


@pytest.mark.parametrize("kind", list(SAMPLERS))
@pytest.mark.parametrize("world", [2, 3])
def test_ranks_deal_the_stream_out(
    kind: str, world: int, fresh_seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def make() -> BackgroundSampler:
        return BackgroundSampler(SAMPLERS[kind](fresh_seed), range(OBJECTS, 40), 0.4)

    whole = _take(make(), 600)
    parts = []
    for rank in range(world):
        monkeypatch.setattr(comm, "get_rank", lambda rank=rank: rank)
        monkeypatch.setattr(comm, "get_world_size", lambda: world)
        parts.append(_take(make(), 600 // world))
    assert list(itertools.chain(*zip(*parts, strict=True))) == whole


def test_the_seed_is_the_samplers() -> None:
    one = BackgroundSampler(TrainingSampler(5, seed=9), [5, 6], 0.5)
    assert one.seed == 9
    assert _take(one, 50) == _take(one, 50)
    assert _take(one, 50) != _take(BackgroundSampler(TrainingSampler(5, seed=10), [5, 6], 0.5), 50)
    assert len(_take(BackgroundSampler(TrainingSampler(5, seed=-3), [5, 6], 0.5), 50)) == 50


@pytest.mark.parametrize(("pool", "ratio"), [([], 0.5), ([1], 0.0), ([1], 1.0), ([1], -0.1)])
def test_what_cannot_be_met_is_refused(pool: list[int], ratio: float) -> None:
    with pytest.raises(ValueError, match="pictures without objects"):
        BackgroundSampler(TrainingSampler(1, seed=0), pool, ratio)
