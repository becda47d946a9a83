"""Taking turns, and what is said of the times: medians and how far they spread."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

__all__ = ["Timing", "take_turns", "totals"]


@dataclass(frozen=True)
class Timing:
    """The times of one side.

    Attributes:
        seconds: one for each round, in the order they were taken.
    """

    seconds: tuple[float, ...]

    def __post_init__(self) -> None:
        if not self.seconds:
            raise ValueError("a timing needs one time at least")

    @property
    def median(self) -> float:
        """The middle time; the mean of the two middle ones of an even number."""
        return statistics.median(self.seconds)

    @property
    def spread(self) -> float:
        """Half the distance between the quartiles as a share of the median; 0 for one time."""
        if len(self.seconds) == 1 or self.median == 0:
            return 0.0
        low, _, high = statistics.quantiles(self.seconds, n=4, method="inclusive")
        return (high - low) / 2 / self.median


def take_turns(
    sides: Mapping[str, Callable[[], float]],
    rounds: int,
    progress: Callable[[int, str], None] | None = None,
) -> dict[str, Timing]:
    """Run every side once a round: A B C, A B C, ...; what slows the machine for a while slows all.

    Args:
        sides: by name, what runs a side once and returns the seconds it took.
        rounds: how often, 1 or more.
        progress: told the round, from 0, and the side before it runs.
    """
    taken: dict[str, list[float]] = {name: [] for name in sides}
    for number in range(rounds):
        for name, run in sides.items():
            if progress is not None:
                progress(number, name)
            taken[name].append(run())
    return {name: Timing(tuple(seconds)) for name, seconds in taken.items()}


def totals(parts: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Return the mean of every part over several runs; a run that lacks a part counts 0 for it."""
    names = dict.fromkeys(name for run in parts for name in run)
    return {name: sum(run.get(name, 0.0) for run in parts) / len(parts) for name in names}
