"""Seeding repeats every generator, and the environment table names what matters."""

from __future__ import annotations

import random

import numpy as np
import torch

from cardamage.utils.env import collect_env_info, seed_all_rng


def _draw() -> tuple[float, float, float]:
    return random.random(), float(np.random.rand()), float(torch.rand(()))


def test_the_same_seed_gives_the_same_numbers() -> None:
    assert seed_all_rng(5) == 5
    first = _draw()
    seed_all_rng(6)
    assert all(a != b for a, b in zip(_draw(), first, strict=True))
    seed_all_rng(5)
    assert _draw() == first
    assert seed_all_rng(2**40) == 2**40


def test_no_seed_draws_one_that_repeats() -> None:
    seed = seed_all_rng(-1)
    first = _draw()
    assert seed_all_rng(seed) == seed
    assert _draw() == first


def test_environment_table() -> None:
    table = collect_env_info()
    assert torch.__version__ in table
    assert "torchvision" in table
    assert "GPU" in table
