"""Per-sample random states."""

from __future__ import annotations

import contextlib
import random

import numpy as np
import torch

from cardamage.data.seeding import seeded


def _draw() -> tuple[float, float, float]:
    return np.random.rand(), random.random(), torch.rand(()).item()


def test_draws_depend_on_seed_and_place_only() -> None:
    drawn = {}
    for seed in (-1, 0, 1, 2**63):
        for place in (0, 1, 10**9):
            with seeded(seed, place):
                drawn[seed, place] = _draw()
            np.random.rand(3)
            with seeded(seed, place):
                assert _draw() == drawn[seed, place]
    for values in zip(*drawn.values(), strict=True):
        assert len(set(values)) == len(drawn)


def test_the_states_outside_are_left_alone() -> None:
    np.random.seed(1)
    random.seed(1)
    torch.manual_seed(1)
    wanted = _draw(), _draw()
    np.random.seed(1)
    random.seed(1)
    torch.manual_seed(1)
    first = _draw()
    with contextlib.suppress(KeyError), seeded(5, 5):
        _draw()
        raise KeyError
    assert (first, _draw()) == wanted


def test_places_are_independent() -> None:
    draws = []
    for place in range(2000):
        with seeded(7, place):
            draws.append(_draw())
    values = np.array(draws)
    assert np.abs(values.mean(0) - 0.5).max() < 0.03
    neighbours = np.corrcoef(values[1:].T, values[:-1].T)
    assert np.abs(neighbours - np.eye(6)).max() < 0.1
