"""Medians, quartiles and turns, against numbers worked out by hand."""

from __future__ import annotations

from itertools import count

import pytest

from cardamage.benchmark.rounds import Timing, take_turns, totals


def test_the_median_is_the_middle_and_not_the_mean() -> None:
    assert Timing((9.0, 1.0, 2.0)).median == 2.0
    assert Timing((1.0, 2.0, 4.0, 100.0)).median == 3.0


def test_the_spread_is_half_the_distance_of_the_quartiles() -> None:
    # Of 1 2 3 4 5 the quartiles are 2 and 4.
    assert Timing((5.0, 1.0, 4.0, 2.0, 3.0)).spread == pytest.approx((4 - 2) / 2 / 3)
    assert Timing((2.0, 2.0)).spread == 0.0
    assert Timing((2.0,)).spread == 0.0


def test_a_timing_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="one time at least"):
        Timing(())


def test_sides_take_turns() -> None:
    order: list[str] = []
    clock = count()

    def side(name: str) -> float:
        order.append(name)
        return float(next(clock))

    told: list[tuple[int, str]] = []
    names = ("a", "b", "c")
    timings = take_turns(
        {name: lambda name=name: side(name) for name in names},  # type: ignore[misc]
        2,
        lambda number, name: told.append((number, name)),
    )
    assert order == ["a", "b", "c", "a", "b", "c"]
    assert told == [(0, "a"), (0, "b"), (0, "c"), (1, "a"), (1, "b"), (1, "c")]
    assert timings["b"].seconds == (1.0, 4.0)


def test_parts_are_averaged_over_the_runs() -> None:
    assert totals([{"trunk": 1.0, "rest": 2.0}, {"trunk": 3.0}]) == {"trunk": 2.0, "rest": 1.0}
