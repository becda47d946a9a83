"""The order of photos, against orders worked out by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cardamage.annotation.observing import Observation
from cardamage.annotation.ordering import Ranked, RankingSettings, order_photos
from cardamage.errors import ConfigValueError


def photo(name: str, uncertainty: float, *features: float) -> Observation:
    return Observation(Path(name), 0, uncertainty, 0.0, np.array(features, np.float32))


def names(ranked: list[Ranked]) -> str:
    return "".join(one.observation.photo.name for one in ranked)


def chosen(ranked: list[Ranked]) -> str:
    return names([one for one in ranked if one.chosen])


LINE = [photo(name, 1.0, x) for name, x in zip("abcde", (0, 1, 4, 9, 10), strict=True)]


def test_no_photo() -> None:
    assert order_photos([], RankingSettings()) == []


@pytest.mark.parametrize("by", ["uncertainty", "diversity", "both"])
def test_one_photo(by: str) -> None:
    (only,) = order_photos([photo("a", 0.0, 1.0, 2.0)], RankingSettings(by=by))
    assert (only.chosen, only.novelty) == (True, None)


def test_by_uncertainty() -> None:
    photos = [photo("a", 0.5, 0.0), photo("b", 2.0, 0.0), photo("c", 1.0, 0.0)]
    ranked = order_photos(photos, RankingSettings(by="uncertainty", count=2))
    assert (names(ranked), chosen(ranked)) == ("bca", "bc")


def test_by_diversity_is_the_greedy_k_center() -> None:
    # The mean is 4.8, next to c; farthest from it are e (6), then a (4); b and d are 1 from these.
    ranked = order_photos(LINE, RankingSettings(by="diversity", count=3))
    assert chosen(ranked) == "cea"
    deviation = np.std([0, 1, 4, 9, 10])
    assert [one.novelty for one in ranked[:3]] == pytest.approx([None, 6 / deviation, 4 / deviation])


def test_what_is_labelled_is_a_center_already() -> None:
    labelled = [photo("x", 0.0, 0.0), photo("y", 0.0, 10.0)]
    assert chosen(order_photos(LINE, RankingSettings(by="diversity", count=1), labelled)) == "c"


def test_by_both_is_the_largest_product() -> None:
    photos = [photo("a", 3.0, 0.0), photo("b", 2.9, 0.1), photo("c", 1.0, 10.0), photo("d", 2.0, 6.0)]
    # a is the most uncertain; then d (2 x 6) before c (1 x 10); b is beside a (2.9 x 0.1).
    # After d: c is 1 x 4.
    ranked = order_photos(photos, RankingSettings(by="both", count=4))
    assert names(ranked) == "adcb"


def test_features_count_the_same_whatever_their_scale() -> None:
    rng = np.random.default_rng(0)
    features, scales = rng.normal(size=(30, 5)), np.array([1e-6, 1.0, 1e5, 3.0, 0.01])
    orders = [
        [one.observation.photo.name for one in order_photos(photos, RankingSettings(by="diversity", count=9))]
        for photos in (
            [photo(str(i), 1.0, *row) for i, row in enumerate(features)],
            [photo(str(i), 1.0, *(row * scales + 7 * scales)) for i, row in enumerate(features)],
        )
    ]
    assert orders[0] == orders[1]


@pytest.mark.parametrize("by", ["uncertainty", "diversity", "both"])
def test_identical_photos_come_in_the_seeds_order(by: str) -> None:
    photos = [photo(str(i), 0.4, 0.1, 0.7, -3.0) for i in range(20)]
    first, again, other = (
        order_photos(photos, RankingSettings(by=by, count=5, seed=seed)) for seed in (3, 3, 4)
    )
    assert [r.observation for r in first] == [r.observation for r in again]
    assert [r.observation for r in first] != [r.observation for r in other]
    assert sorted(r.observation.photo.name for r in first) == sorted(map(str, range(20)))
    assert [r.novelty for r in first[1:]] == [0] * 19


def test_a_model_without_any_doubt_still_orders_all() -> None:
    photos = [photo(str(i), 0.0, float(i)) for i in range(7)]
    assert len(order_photos(photos, RankingSettings(count=3))) == 7


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"by": "magic"}, "--by is 'magic': use uncertainty, diversity or both."),
        ({"count": 0}, "--count must be 1 or more, not 0."),
        ({"seed": -1}, "--seed must be 0 or more, not -1."),
    ],
)
def test_values_out_of_range(change: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ConfigValueError) as caught:
        RankingSettings(**change)
    assert str(caught.value) == sentence
