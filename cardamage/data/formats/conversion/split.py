"""Dividing images into parts so that each gets its share of every class and no photo is on two sides."""

from __future__ import annotations

import os
import random
from collections import Counter
from collections.abc import Collection, Sequence

from ....errors import DataError
from ...images.hashes import equal_groups, near_duplicates, original_name
from .prints import kept_prints

__all__ = ["part_names", "photo_groups", "split_images"]


def part_names(shares: Sequence[float]) -> list[str]:
    """Return the names of the parts of a division.

    Raises:
        DataError: for one share, more than three, or one that is not above 0.
    """
    if len(shares) not in (2, 3) or not all(0 < share < float("inf") for share in shares):
        said = " ".join(f"{share:g}" for share in shares)
        raise DataError(f"A split needs two or three shares above 0, such as 0.8 0.2, but {said} was given.")
    return ["train", "val", "test"][: len(shares)]


def photo_groups(
    names: Sequence[str],
    sources: Sequence[str],
    threads: int = 0,
    cache: str | os.PathLike[str] | None = None,
) -> list[list[int]]:
    """Find images that must not be divided: copies and near-duplicates of one photo.

    Args:
        names: of the images; Roboflow's copies of one photo are told by them.
        sources: the files that hold their pixels, which are compared by content.
        threads: how many are read at once; 0 is one for each core.
        cache: folder that remembers what was found about files.

    Returns:
        Indices of each group of two or more, rising, ordered by their first.
    """
    prints = kept_prints(sources, threads, cache)
    found = equal_groups([original_name(name) for name in names])
    found += equal_groups([None if known is None else known.digest for known in prints])
    found += near_duplicates([None if known is None else known.hash for known in prints])
    return [unit for unit in _units(len(names), found) if len(unit) > 1]


def split_images(
    classes: Sequence[Collection[int]],
    shares: Sequence[float],
    seed: int = 0,
    groups: Sequence[Sequence[int]] = (),
) -> list[list[int]]:
    """Divide images, the rarest class first (after Sechidis et al., iterative stratification, 2011).

    Args:
        classes: those that each image has objects of.
        shares: of each part; only their ratios count.
        seed: the same seed gives the same parts.
        groups: indices of images that stay together.

    Returns:
        Indices of each part in rising order; every image is in exactly one. A part of a share above 0 gets an
        image as long as there are enough.
    """
    total = sum(shares)
    present = [frozenset(held) for held in classes]
    frequency = Counter(category for held in present for category in held)
    units = _units(len(present), groups)
    held = [Counter(category for i in unit for category in present[i]) for unit in units]
    order = list(range(len(units)))
    random.Random(seed).shuffle(order)
    # Images of rare classes are placed while every part still has room, large groups before single images;
    # those without objects come last.
    order.sort(key=lambda u: (min((frequency[c] for c in held[u]), default=len(present) + 1), -len(units[u])))
    room = [share / total * len(present) for share in shares]
    wanted = [{c: share / total * n for c, n in frequency.items()} for share in shares]
    parts: list[list[int]] = [[] for _ in shares]
    for u in order:
        rarest = min(held[u], key=lambda c: (frequency[c], c), default=None)
        part = max(range(len(shares)), key=lambda p: (wanted[p].get(rarest, 0.0), room[p]))  # type: ignore[arg-type]
        parts[part].append(u)
        room[part] -= len(units[u])
        for category, count in held[u].items():
            wanted[part][category] -= count
    _fill_empty(parts, shares, units)
    return [sorted(i for u in part for i in units[u]) for part in parts]


def _fill_empty(parts: list[list[int]], shares: Sequence[float], units: list[list[int]]) -> None:
    for part, share in zip(parts, shares, strict=True):
        largest = max(parts, key=len)
        if share > 0 and not part and len(largest) > 1:
            # Of the smallest, the last that was placed: it says least about any class.
            smallest = min(reversed(largest), key=lambda u: len(units[u]))
            largest.remove(smallest)
            part.append(smallest)


def _units(count: int, groups: Sequence[Sequence[int]]) -> list[list[int]]:
    """Images and groups of images that go together; groups that share an image are one."""
    root = list(range(count))

    def find(i: int) -> int:
        while root[i] != i:
            root[i] = root[root[i]]
            i = root[i]
        return i

    for group in groups:
        for i in group:
            one, other = sorted((find(group[0]), find(i)))
            root[other] = one
    units: dict[int, list[int]] = {}
    for i in range(count):
        units.setdefault(find(i), []).append(i)
    return list(units.values())
