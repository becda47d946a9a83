"""Anchors in the form that a config has them: sizes and aspect ratios, each map's own or shared."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

__all__ = ["AnchorForm", "AnchorLists"]


@dataclass(frozen=True)
class AnchorLists:
    """What MODEL.ANCHOR_GENERATOR takes.

    Attributes:
        sizes: SIZES: square roots of the areas in pixels, one list for all feature maps or one for each.
        ratios: ASPECT_RATIOS: height / width, likewise.
    """

    sizes: tuple[tuple[float, ...], ...]
    ratios: tuple[tuple[float, ...], ...]

    def for_maps(self, count: int) -> tuple[list[tuple[float, ...]], list[tuple[float, ...]]]:
        """Return sizes and ratios with a list for each of so many feature maps."""
        sizes, ratios = (list(x) * (count if len(x) == 1 else 1) for x in (self.sizes, self.ratios))
        return sizes, ratios


@dataclass(frozen=True)
class AnchorForm:
    """How many anchors there are, and what the feature maps share.

    Attributes:
        maps: feature maps.
        sizes: sizes of a map.
        ratios: aspect ratios of a size.
        own_sizes: whether each map has sizes of its own.
        own_ratios: whether each map has ratios of its own.
    """

    maps: int
    sizes: int
    ratios: int
    own_sizes: bool = True
    own_ratios: bool = False

    @property
    def size_lists(self) -> int:
        """How many lists of sizes there are."""
        return self.maps if self.own_sizes else 1

    @property
    def ratio_lists(self) -> int:
        """How many lists of ratios there are."""
        return self.maps if self.own_ratios else 1

    @property
    def count(self) -> int:
        """Different anchor shapes."""
        return self.sizes * self.ratios * max(self.size_lists, self.ratio_lists)

    def pack(self, lists: AnchorLists) -> np.ndarray | None:
        """Return lists as one vector of logarithms, or None where they aren't of this form."""
        sizes, ratios = lists.for_maps(self.maps)
        if {len(s) for s in sizes} != {self.sizes} or {len(r) for r in ratios} != {self.ratios}:
            return None
        shared_size, shared_ratio = len({tuple(s) for s in sizes}) == 1, len({tuple(r) for r in ratios}) == 1
        if (not self.own_sizes and not shared_size) or (not self.own_ratios and not shared_ratio):
            return None
        return np.log(np.concatenate([*sizes[: self.size_lists], *ratios[: self.ratio_lists]]))

    def unpack(self, vector: np.ndarray) -> AnchorLists:
        """Return a vector of :meth:`pack` as lists, each in rising order."""
        split = self.size_lists * self.sizes
        sizes = np.sort(np.exp(vector[:split]).reshape(self.size_lists, self.sizes), axis=1)
        ratios = np.sort(np.exp(vector[split:]).reshape(self.ratio_lists, self.ratios), axis=1)
        return AnchorLists(tuple(map(tuple, sizes.tolist())), tuple(map(tuple, ratios.tolist())))

    def from_shapes(self, shapes: np.ndarray) -> np.ndarray:
        """Bring free shapes into this form: neighbours in area become a size, their ratios its ratios.

        Args:
            shapes: (sizes * ratios * size lists, 2) widths and heights by area.

        Returns:
            A vector of :meth:`pack`.
        """
        logs = np.log(shapes)
        groups = logs.reshape(self.size_lists, self.sizes, self.ratios, 2)
        sizes = groups.mean(axis=(2, 3))
        ratios = np.sort(groups[..., 1] - groups[..., 0], axis=2).mean(axis=1)
        if self.ratio_lists == 1:
            ratios = ratios.mean(axis=0)
        elif self.size_lists == 1:
            ratios = np.repeat(ratios, self.maps, axis=0)
        return np.concatenate([sizes.ravel(), ratios.ravel()])

    def ordered(self, vector: np.ndarray) -> bool:
        """Tell whether coarser feature maps have the larger sizes."""
        means = vector[: self.size_lists * self.sizes].reshape(self.size_lists, self.sizes).mean(axis=1)
        return bool((np.diff(means) > 0).all())


def rounded(lists: AnchorLists) -> AnchorLists:
    """Return lists as a person would write them: sizes to whole pixels from 10 on, ratios to two digits."""
    sizes = tuple(tuple(_round_size(size) for size in group) for group in lists.sizes)
    return AnchorLists(sizes, tuple(tuple(float(f"{r:.2g}") for r in group) for group in lists.ratios))


def _round_size(size: float) -> float:
    return round(size) if size >= 10 else max(round(size, 1), 0.5)
