"""Dividing images into training and validation sets so that each gets its share of every class."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ["split_images"]


def split_images(
    dataset_dicts: Sequence[Mapping[str, Any]], shares: Sequence[float], seed: int = 0
) -> list[list[int]]:
    """Divide images, the rarest class first (after Sechidis et al., iterative stratification, 2011).

    Args:
        dataset_dicts: the images.
        shares: of each part; only their ratios count.
        seed: the same seed gives the same parts.

    Returns:
        Indices of each part in rising order; every image is in exactly one. A part of a share above 0 gets an
        image as long as there are enough.
    """
    total = sum(shares)
    classes = [frozenset(a["category_id"] for a in record.get("annotations", ())) for record in dataset_dicts]
    frequency = Counter(category for present in classes for category in present)
    order = list(range(len(classes)))
    random.Random(seed).shuffle(order)
    # Images of rare classes are placed while every part still has room; those without objects come last.
    order.sort(key=lambda i: min((frequency[c] for c in classes[i]), default=len(classes) + 1))
    room = [share / total * len(classes) for share in shares]
    wanted = [{c: share / total * n for c, n in frequency.items()} for share in shares]
    parts: list[list[int]] = [[] for _ in shares]
    for i in order:
        rarest = min(classes[i], key=lambda c: (frequency[c], c), default=None)
        part = max(range(len(shares)), key=lambda p: (wanted[p].get(rarest, 0.0), room[p]))
        parts[part].append(i)
        room[part] -= 1
        for category in classes[i]:
            wanted[part][category] -= 1
    _fill_empty(parts, shares)
    return [sorted(part) for part in parts]


def _fill_empty(parts: list[list[int]], shares: Sequence[float]) -> None:
    for part, share in zip(parts, shares, strict=True):
        largest = max(parts, key=len)
        if share > 0 and not part and len(largest) > 1:
            part.append(largest.pop())
