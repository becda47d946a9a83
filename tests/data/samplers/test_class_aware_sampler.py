"""Class-aware draws against the law that is stated: exact counts where it is exact, chi-square where not."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Iterable
from typing import Any

import numpy as np
import pytest

from cardamage.data.samplers import ClassAwareSampler
from cardamage.utils import comm


def _take(stream: Iterable[Any], count: int) -> list[Any]:
    return list(itertools.islice(iter(stream), count))


def _random_classes(seed: int, images: int = 60, classes: int = 7) -> list[set[int]]:
    rng = np.random.default_rng(seed)
    # The first classes are common, the last ones rare; some images have none.
    odds = np.geomspace(1, 0.02, classes)
    found = [{c for c in range(classes) if rng.random() < odds[c] / 2} for _ in range(images)]
    for c in range(classes):
        found[c].add(c)
    return found


def test_every_class_once_in_each_pass_and_every_image_once_in_each_of_its_class(fresh_seed: int) -> None:
    image_classes = _random_classes(fresh_seed)
    sampler = ClassAwareSampler(image_classes, seed=fresh_seed)
    draws = _take(sampler.draws(), 7 * 500)
    assert [image for _, image in draws] == _take(sampler, len(draws))
    assert all(one in image_classes[image] for one, image in draws)
    for start in range(0, len(draws), 7):
        assert sorted(one for one, _ in draws[start : start + 7]) == list(range(7))
    for one in range(7):
        members = [i for i, classes in enumerate(image_classes) if one in classes]
        images = [image for c, image in draws if c == one]
        for start in range(0, len(images) - len(members) + 1, len(members)):
            assert sorted(images[start : start + len(members)]) == members


def test_orders_of_classes_and_images_are_uniform(fresh_seed: int) -> None:
    # Three classes with four images each: every place of a pass, and every image as the first of a round.
    classes = [{i // 4} for i in range(12)]
    draws = _take(ClassAwareSampler(classes, seed=fresh_seed).draws(), 3 * 12_000)
    at_first = Counter(one for one, _ in draws[::3])
    firsts = Counter(image for c in range(3) for image in [i for one, i in draws if one == c][::4])
    assert set(at_first) == set(range(3))
    assert set(firsts) == set(range(12))
    for counts in (at_first, firsts):
        mean = sum(counts.values()) / len(counts)
        square = sum((n - mean) ** 2 / mean for n in counts.values())
        freedom = len(counts) - 1
        assert square < freedom + 8 * math.sqrt(2 * freedom) + 20


def test_rare_classes_come_as_often_as_common_ones() -> None:
    # 990 images of class 0, 10 of class 5: half of the draws are of the ten.
    sampler = ClassAwareSampler([{0}] * 990 + [{5}] * 10, seed=3)
    drawn = Counter(_take(sampler, 2000))
    assert sum(drawn[i] for i in range(990, 1000)) == 1000
    assert {drawn[i] for i in range(990, 1000)} == {100}
    assert sorted(drawn[i] for i in range(990)) == [1] * 980 + [2] * 10


@pytest.mark.parametrize("world", [1, 2, 3])
def test_ranks_deal_the_stream_out(world: int, fresh_seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    classes = _random_classes(fresh_seed)
    whole = _take(ClassAwareSampler(classes, seed=fresh_seed), 300)
    parts = []
    for rank in range(world):
        monkeypatch.setattr(comm, "get_rank", lambda rank=rank: rank)
        monkeypatch.setattr(comm, "get_world_size", lambda: world)
        parts.append(_take(ClassAwareSampler(classes, seed=fresh_seed), 300 // world))
    assert list(itertools.chain(*zip(*parts, strict=True))) == whole


def test_two_ranks_see_no_image_twice_before_all_were_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(comm, "get_world_size", lambda: 2)
    parts = []
    for rank in range(2):
        monkeypatch.setattr(comm, "get_rank", lambda rank=rank: rank)
        parts.append(_take(ClassAwareSampler([{i % 2} for i in range(40)], seed=8), 20))
    assert sorted(parts[0] + parts[1]) == list(range(40))


def test_seeds() -> None:
    classes = _random_classes(1)
    one = ClassAwareSampler(classes, seed=4)
    assert one.seed == 4
    assert _take(one, 100) == _take(one, 100)
    assert _take(one, 100) != _take(ClassAwareSampler(classes, seed=5), 100)
    assert _take(ClassAwareSampler([{2}], seed=0), 3) == [0, 0, 0]


def test_classes_are_those_of_objects_that_are_no_crowd() -> None:
    records: list[dict[str, Any]] = [
        {"annotations": [{"category_id": 3}, {"category_id": 1}, {"category_id": 3, "iscrowd": 1}]},
        {"annotations": [{"category_id": 2, "iscrowd": 1}]},
        {"annotations": []},
        {},
    ]
    assert ClassAwareSampler.classes_of(records) == [{1, 3}, set(), set(), set()]
    assert set(_take(ClassAwareSampler(ClassAwareSampler.classes_of(records), seed=0), 10)) == {0}
    with pytest.raises(ValueError, match="ClassAwareSampler needs images with objects"):
        ClassAwareSampler(ClassAwareSampler.classes_of(records[1:]), seed=0)
