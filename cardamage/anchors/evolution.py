"""Small random changes of anchors, kept where more boxes can be found."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .boxes import PlacedBoxes
from .coverage import ENOUGH, SIZE_CLASSES, needed_overlaps
from .form import AnchorForm
from .grid import AnchorGrid
from .overlap import level_overlaps

__all__ = ["Judge", "evolve"]

# Deviation of a change, as a logarithm: at first and at last.
_FIRST, _LAST = 0.25, 0.02
# The share of the numbers that a change changes.
_CHANGED = 0.25
# Weight of what must not be.
_FORBIDDEN = 20.0
# Between small, medium and large boxes.
_AREAS = [low for low, _ in SIZE_CLASSES.values() if low > 0]


@dataclass
class Judge:
    """Tells how good anchors are for boxes, and remembers feature maps whose anchors didn't change.

    Attributes:
        boxes: at the sizes of the training.
        grid: the feature maps; its anchors don't matter.
        form: of the anchors.
        background: the overlap below which the RPN takes an anchor for background.
    """

    boxes: PlacedBoxes
    grid: AnchorGrid
    form: AnchorForm
    background: float

    def __post_init__(self) -> None:
        self._known: dict[int, tuple[np.ndarray, np.ndarray]] = {}
        self._floor: np.ndarray | float = 0.0
        self._areas = np.prod(self.boxes.shapes, axis=1)
        self._classes = np.digitize(self._areas, _AREAS)
        self._counts = np.bincount(self._classes, minlength=len(_AREAS) + 1)

    def overlaps(self, vector: np.ndarray, keep: bool = False) -> np.ndarray:
        """Return (N,) the best overlap of each box with anchors placed on their strides.

        Args:
            vector: the anchors, of :meth:`AnchorForm.pack`.
            keep: remember these anchors, to be quick with others that share feature maps with them.
        """
        grid = self.grid_of(vector)
        found = [self._of_level(grid, level) for level in range(len(grid.cells))]
        if keep:
            self._known = dict(enumerate(zip(grid.cells, found, strict=True)))
        return np.stack(found).max(axis=0)

    def grid_of(self, vector: np.ndarray) -> AnchorGrid:
        """Return the anchors of a vector on the feature maps."""
        return self.grid.with_shapes(*self.form.unpack(vector).for_maps(self.form.maps))

    def _of_level(self, grid: AnchorGrid, level: int) -> np.ndarray:
        if level in self._known and (self._known[level][0] == grid.cells[level]).all():
            return self._known[level][1]
        return level_overlaps(self.boxes, grid, level)

    def score(self, vector: np.ndarray, keep: bool = False) -> float:
        """Return how good anchors are: the higher the better.

        Above all, no recall may fall below that of the anchors to beat. Then boxes are to be within reach, as
        far as the training asks for, and found at 0.5, small ones as well as large ones; last come the recall
        at 0.7 and the mean best overlap, which also tells changes apart that take no box past a threshold.

        Args:
            vector: the anchors.
            keep: see :meth:`overlaps`.
        """
        best = self.overlaps(vector, keep)
        recalls = self._recalls(vector, best)
        reached, found, tight = recalls[:3]
        lost = np.maximum(self._floor - recalls, 0).sum()
        wanted = 4 * min(reached, ENOUGH) + 2 * found + 2 * recalls[3:].mean() + tight + best.mean()
        return float(wanted - _FORBIDDEN * lost)

    def _recalls(self, vector: np.ndarray, best: np.ndarray) -> np.ndarray:
        """Return the shares of boxes within reach, found at 0.5 and at 0.7, and at 0.5 of each size."""
        needed = needed_overlaps(self._areas, self.grid_of(vector), self.background)
        whole = [(best >= threshold).mean() for threshold in (needed, 0.5, 0.7)]
        present = self._counts > 0
        by_size = np.bincount(self._classes, best >= 0.5, len(present))[present] / self._counts[present]
        return np.concatenate([whole, by_size])

    def beat(self, vector: np.ndarray) -> None:
        """Let no recall fall below that of these anchors from now on."""
        self._floor = self._recalls(vector, self.overlaps(vector))


def evolve(judge: Judge, start: np.ndarray, generations: int, rng: np.random.Generator) -> np.ndarray:
    """Change anchors at random, less and less, and keep each change that is no loss.

    Args:
        judge: tells which of two is better.
        start: the anchors to begin with.
        generations: how many changes to try.
        rng: decides on them.

    Returns:
        The best anchors, never worse than those at the start.
    """
    limits = _limits(judge)
    current, best = start, judge.score(start, keep=True)
    for step in range(generations):
        deviation = _FIRST * (_LAST / _FIRST) ** (step / max(generations - 1, 1))
        chosen = rng.random(len(start)) < _CHANGED
        chosen[rng.integers(len(start))] = True
        changed = np.clip(current + chosen * rng.normal(0, deviation, len(start)), *limits)
        if not judge.form.ordered(changed):
            continue
        score = judge.score(changed)
        if score >= best:
            current, best = changed, score
            judge.overlaps(current, keep=True)
    return current


def _limits(judge: Judge) -> tuple[np.ndarray, np.ndarray]:
    """Sizes and ratios of half the least box to twice the greatest."""
    logs = np.log(judge.boxes.shapes)
    sizes, ratios = logs.mean(axis=1), logs[:, 1] - logs[:, 0]
    counts = (judge.form.size_lists * judge.form.sizes, judge.form.ratio_lists * judge.form.ratios)
    low = np.repeat([sizes.min() - np.log(2), ratios.min() - np.log(2)], counts)
    high = np.repeat([sizes.max() + np.log(2), ratios.max() + np.log(2)], counts)
    return low, high
