"""Per-sample random states."""

from __future__ import annotations

import contextlib
import random

import numpy as np
import torch

from cardamage.data.loading.seeding import batch_draws, seeded


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


def test_samples_of_a_batch_draw_together() -> None:
    drawn = {}
    for seed in (-1, 0, 2**40):
        for batch in (0, 1):
            for place in (4, 5):
                with seeded(seed, place, batch):
                    alone = np.random.rand()
                    drawn[seed, batch, place] = batch_draws().randint(10**9), batch_draws().choice([1.5, 2.5])
                with seeded(seed, place):
                    assert np.random.rand() == alone  # nothing else changes
                    assert batch_draws() is np.random
            assert drawn[seed, batch, 4] == drawn[seed, batch, 5]
    assert len({value[0] for value in drawn.values()}) == 6
