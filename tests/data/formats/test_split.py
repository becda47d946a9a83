from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest

from cardamage.data.formats.split import split_images


def images(classes: list[list[int]]) -> list[dict[str, Any]]:
    return [{"annotations": [{"category_id": c} for c in present]} for present in classes]


def drawn(seed: int, count: int = 120) -> list[list[int]]:
    rng = np.random.default_rng(seed)
    return [
        rng.choice(6, size=rng.integers(0, 4), p=[0.4, 0.3, 0.15, 0.08, 0.05, 0.02]).tolist()
        for _ in range(count)
    ]


@pytest.mark.parametrize("shares", [(0.8, 0.2), (70, 20, 10)])
@pytest.mark.parametrize("seed", range(4))
def test_every_image_once_and_every_class_its_share(shares: tuple[float, ...], seed: int) -> None:
    classes = drawn(seed)
    parts = split_images(images(classes), shares, seed)
    assert sorted(i for part in parts for i in part) == list(range(len(classes)))
    assert all(part == sorted(part) for part in parts)
    total = Counter(c for present in classes for c in set(present))
    for part, share in zip(parts, shares, strict=True):
        fraction = share / sum(shares)
        assert abs(len(part) - fraction * len(classes)) <= 6
        found = Counter(c for i in part for c in set(classes[i]))
        for category, n in total.items():
            assert abs(found[category] - fraction * n) <= max(3, 0.15 * n)


def test_seed_decides() -> None:
    dicts = images(drawn(0))
    assert split_images(dicts, (0.8, 0.2), 5) == split_images(dicts, (0.8, 0.2), 5)
    assert split_images(dicts, (0.8, 0.2), 5) != split_images(dicts, (0.8, 0.2), 6)


@pytest.mark.parametrize("count", [0, 1, 2, 3])
def test_few_images(count: int) -> None:
    parts = split_images(images([[0]] * count), (0.9, 0.1))
    assert sum(map(len, parts)) == count
    if count > 1:
        assert all(parts)
