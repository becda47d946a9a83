"""The order in which photos are worth labelling.

``uncertainty`` takes the photos that the model doubts most, see :mod:`.observing`. ``diversity`` is the
greedy k-center of Sener and Savarese, "Active Learning for Convolutional Neural Networks: A Core-Set
Approach" (ICLR 2018): always the photo farthest from the nearest one labelled or chosen before. ``both``
takes the photo of the highest product of the two, uncertainty times that distance, much as Zhdanov,
"Diverse mini-batch Active Learning" (2019), weights a clustering: of two photos alike the second teaches
little, however doubtful.

Distances are Euclidean, between trunk features of which each has its mean taken off and is divided by its
standard deviation over all photos. Where nothing is labelled yet, ``both`` begins with the most uncertain
photo, ``diversity`` with the one nearest to the mean. Equal photos come in an order drawn from the seed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from cardamage.errors import ConfigValueError

from .observing import Observation

__all__ = ["Ranked", "RankingSettings", "order_photos"]

_WAYS = ("uncertainty", "diversity", "both")


@dataclass(frozen=True)
class RankingSettings:
    """How to choose.

    Attributes:
        by: ``"uncertainty"``, ``"diversity"`` or ``"both"``.
        count: how many photos to choose; the others follow by what they would teach after these.
        seed: decides between equals.
    """

    by: str = "both"
    count: int = 100
    seed: int = 0

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            ConfigValueError: one is out of its range.
        """
        if self.by not in _WAYS:
            raise ConfigValueError(f"--by is {self.by!r}: use {', '.join(_WAYS[:2])} or {_WAYS[2]}.")
        if self.count < 1:
            raise ConfigValueError(f"--count must be 1 or more, not {self.count}.")
        if self.seed < 0:
            raise ConfigValueError(f"--seed must be 0 or more, not {self.seed}.")


@dataclass(frozen=True)
class Ranked:
    """A photo in its place.

    Attributes:
        observation: what the model said of it.
        novelty: its distance from the nearest photo labelled or chosen before; None for the first of all.
        chosen: whether it is among those asked for.
    """

    observation: Observation
    novelty: float | None
    chosen: bool


def order_photos(
    photos: Sequence[Observation], settings: RankingSettings, labelled: Sequence[Observation] = ()
) -> list[Ranked]:
    """Order photos by what labelling them would teach.

    Args:
        photos: the candidates.
        settings: see :class:`RankingSettings`.
        labelled: photos that are labelled already; only their features count.

    Returns:
        All candidates, best first.
    """
    if not photos:
        return []
    # What comes first among equals is drawn once, by going through the photos in that order.
    shuffled = np.random.default_rng(settings.seed).permutation(len(photos))
    candidates = [photos[index] for index in shuffled]
    points = _standardized([*candidates, *labelled])
    own, known = points[: len(candidates)], points[len(candidates) :]
    nearest = np.full(len(candidates), np.inf)
    for center in known:
        nearest = np.minimum(nearest, _distances(own, center))
    weights = np.array([photo.uncertainty for photo in candidates])
    left = np.ones(len(candidates), dtype=bool)
    ranked: list[Ranked] = []
    while left.any() and len(ranked) < settings.count:
        worth = np.where(left, _worth(settings.by, weights, nearest, own), -np.inf)
        index = int(worth.argmax())
        ranked.append(Ranked(candidates[index], _finite(nearest[index]), chosen=True))
        left[index] = False
        nearest = np.minimum(nearest, _distances(own, own[index]))
    rest = np.flatnonzero(left)
    worth = _worth(settings.by, weights, nearest, own)[rest]
    for index in rest[np.argsort(-worth, kind="stable")]:
        ranked.append(Ranked(candidates[index], _finite(nearest[index]), chosen=False))
    return ranked


def _worth(by: str, weights: np.ndarray, nearest: np.ndarray, points: np.ndarray) -> np.ndarray:
    """What each photo would teach now; only comparisons of them mean anything."""
    if by == "uncertainty":
        return weights
    if not np.isfinite(nearest).all():
        return weights if by == "both" else -np.sqrt((points**2).sum(axis=1))
    return nearest * weights if by == "both" else nearest


def _standardized(photos: Sequence[Observation]) -> np.ndarray:
    features = np.stack([photo.features for photo in photos]).astype(np.float64)
    largest = np.abs(features).max(axis=0)
    features -= features.mean(axis=0)
    deviation = features.std(axis=0)
    # A feature that is equal in all photos differs by rounding only.
    return features / np.where(deviation > 1e-7 * largest, deviation, np.inf)


def _distances(points: np.ndarray, center: np.ndarray) -> np.ndarray:
    return np.sqrt(((points - center) ** 2).sum(axis=1))


def _finite(distance: float) -> float | None:
    return float(distance) if np.isfinite(distance) else None
