"""One object as its file has it: its outline, box or mask, and what can be told from them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pycocotools.mask as mask_util

from ..annotations import outlines
from ..formats.tracing.bridges import unbridged

__all__ = ["Box", "Hit", "Shape", "past_edge"]

Box = tuple[float, float, float, float]

# Crossings are looked for up to this many points: the work grows with the square.
_MOST_POINTS = 2000
# Pixels from an edge at which a point counts as on it.
_ON_EDGE = 1e-9
# Pixels by which a corner on the grid of pixels may be off it, once shares of the picture were written.
_ON_GRID = 1e-3
# Runs of a mask that claims to be larger than this are not drawn.
_MOST_PIXELS = 1 << 28


@dataclass(frozen=True, slots=True)
class Hit:
    """One case of a finding.

    Attributes:
        file: the annotation file or picture.
        index: of the shape in it: Labelme's and VIA's regions, COCO's annotations and images from 0, lines of
            YOLO's files and of csv from 1; None where the file as a whole is meant.
        text: what it is, for this one.
        others: further files that belong to it, such as the copies of a photo.
    """

    file: str
    index: int | None = None
    text: str = ""
    others: tuple[str, ...] = ()


class Shape:
    """One object as its file has it. There may be a million: nothing is kept that is computed quickly.

    Attributes:
        file: the annotation file.
        index: in that file; see :class:`Hit`.
        label: name of its class; None where it has none.
        rle: a mask in place of rings.
        box: stated x0, y0, x1, y1.
        size: height and width of the picture that it was drawn on.
        kind: ``"outline"``, ``"box"`` (it has no outline) or ``"mask"``.
        stated_area: as the file says.
        crowd: whether it stands for many objects.
        by_hand: whether a box was drawn with a box tool, so that its outline is four corners by intent.
        line: whether it is a line, and its rings are what that covers.
        closed: whether a ring repeated its first point at its end.
        repeats: whether a ring repeated a point in a row.
        group: of parts of one object in a Labelme file; None where it is a whole one.
        rewrite: whether it must be written anew, since the file has it in another form.
    """

    __slots__ = (
        "_area",
        "_crosses",
        "_extent",
        "_rings",
        "_touches",
        "box",
        "by_hand",
        "closed",
        "crowd",
        "file",
        "group",
        "index",
        "kind",
        "label",
        "line",
        "repeats",
        "rewrite",
        "rle",
        "size",
        "stated_area",
    )

    def __init__(
        self,
        file: str,
        index: int,
        label: str | None,
        rings: Iterable[Any] = (),
        size: tuple[int, int] = (0, 0),
        by_hand: bool = False,
        line: bool = False,
    ) -> None:
        self.file, self.index, self.label, self.size = file, index, label, size
        self.by_hand, self.line = by_hand, line
        self.kind, self.crowd, self.rewrite = "outline", False, False
        self.group: int | None = None
        self.rle: dict[str, Any] | None = None
        self.box: Box | None = None
        self.stated_area: float | None = None
        self.rings = rings

    def hit(self, text: str = "") -> Hit:
        """Return a case of a finding at this shape."""
        named = f"{self.label}: " if self.label else ""
        return Hit(self.file, self.index, f"{named}{text}" if text else (self.label or ""))

    @property
    def rings(self) -> tuple[np.ndarray, ...]:
        """Outlines, each of shape (points, 2) in pixels, opened and without repeats of a point in a row."""
        return self._rings

    @rings.setter
    def rings(self, rings: Iterable[Any]) -> None:
        """Take outlines as they are given, and forget what was known of the ones before."""
        given: list[Any] = [np.asarray(ring, dtype=np.float64).reshape(-1, 2) for ring in rings]
        self._rings = tuple(outlines.as_points(ring) for ring in given)
        untidy = [ring for ring, open_ in zip(given, self._rings, strict=True) if len(ring) != len(open_)]
        self.closed = any(len(ring) > 3 and bool((ring[0] == ring[-1]).all()) for ring in untidy)
        self.repeats = any(bool((ring[1:] == ring[:-1]).all(axis=1).any()) for ring in untidy)
        self._crosses: bool | None = None
        self._touches: bool | None = None
        self._extent: Box | None = None
        self._area: float | None = None

    @property
    def crosses(self) -> bool:
        """Whether a ring crosses itself."""
        if self._crosses is None:
            self._crosses = any(len(p) <= _MOST_POINTS and outlines.crosses_itself(p) for p in self._rings)
        return self._crosses

    @property
    def touches(self) -> bool:
        """Whether a ring touches itself, or folds back on itself.

        Cuts to holes and between parts, which are walked there and back, and corners where pixels of a traced
        mask meet, leave no doubt of what is inside.
        """
        if self._touches is None:
            self._touches = any(
                len(p) <= _MOST_POINTS
                and any(_touches(loop) and not _is_traced(loop) for loop in unbridged(p))
                for p in self._rings
            )
        return self._touches

    @property
    def extent(self) -> Box | None:
        """x0, y0, x1, y1 around what was drawn; the stated box where there is no outline."""
        if self._extent is None:
            self._extent = self._drawn_extent()
        return self._extent or self.box

    def _drawn_extent(self) -> Box | None:
        corners = [p for p in self._rings if len(p)]
        if corners:
            every = corners[0] if len(corners) == 1 else np.concatenate(corners)
            return (*every.min(axis=0).tolist(), *every.max(axis=0).tolist())
        if self.rle is not None and self.mask_trouble is None and self.area:
            x, y, width, height = mask_util.toBbox(_packed(self.rle)).tolist()
            return (x, y, x + width, y + height)
        return None

    @property
    def excess(self) -> float:
        """By how many pixels what was drawn reaches past the edge of the picture."""
        return past_edge(self.extent, self.size)

    def pack(self) -> None:
        """Keep a mask as a string of its runs: a list of them takes many times as much memory."""
        if self.rle is not None and isinstance(self.rle.get("counts"), list) and self.mask_trouble is None:
            self.rle = _packed(self.rle)

    @property
    def mask_trouble(self) -> str | None:
        """What is wrong with a run-length mask, or None."""
        if self.rle is None:
            return None
        size, counts = _sides(self.rle.get("size")), self.rle.get("counts")
        if size is None or not isinstance(counts, (list, str, bytes)):
            return "it has no size and counts"
        if 0 not in self.size and size != self.size:
            return f"it is {size[1]}x{size[0]} and the picture {self.size[1]}x{self.size[0]}"
        if isinstance(counts, list):
            whole = all(isinstance(run, int) and not isinstance(run, bool) and run >= 0 for run in counts)
            if not whole or sum(counts) != size[0] * size[1]:
                return f"its runs don't add up to the {size[0] * size[1]} pixels of the picture"
            return None
        try:
            covered = mask_util.area({"size": list(size), "counts": counts})
        except (TypeError, ValueError):
            return "its counts can't be read"
        return "it covers more than the picture" if covered > size[0] * size[1] else None

    @property
    def area(self) -> float | None:
        """Pixels of the mask; of a box its area. None where that can't be told."""
        if self.kind == "box":
            return None if self.box is None else (self.box[2] - self.box[0]) * (self.box[3] - self.box[1])
        if self._area is None:
            self._area = self._mask_area()
        return self._area

    def _mask_area(self) -> float | None:
        if self.rle is None and not any(len(p) >= 3 for p in self._rings):
            return 0.0 if 0 not in self.size else None
        mask = self.mask()
        return None if mask is None else float(mask_util.area(mask))

    def mask(self) -> dict[str, Any] | None:
        """What is covered, as compressed runs; None where that can't be told, or nothing is outlined."""
        height, width = self.size
        if self.mask_trouble or not 0 < height * width <= _MOST_PIXELS:
            return None
        try:
            if self.rle is not None:
                return _packed(self.rle)
            usable = [outlines.flat(p) for p in self._rings if len(p) >= 3]
            return dict(mask_util.merge(mask_util.frPyObjects(usable, height, width))) if usable else None
        except (TypeError, ValueError, KeyError, IndexError):
            return None


def _sides(size: Any) -> tuple[int, int] | None:
    if isinstance(size, (list, tuple)) and len(size) == 2 and all(type(s) is int and s > 0 for s in size):
        return size[0], size[1]
    return None


def _touches(points: np.ndarray) -> bool:
    """Whether a point lies on an edge that doesn't end there."""
    n = len(points)
    if n < 3:
        return False
    start, edge = points[:, None], (np.roll(points, -1, axis=0) - points)[:, None]
    to = points[None] - start
    along = (edge * to).sum(axis=2) / (edge**2).sum(axis=2)
    off = np.abs(edge[..., 0] * to[..., 1] - edge[..., 1] * to[..., 0]) / np.hypot(*edge.T).T
    on = (off <= _ON_EDGE) & (along > -1e-12) & (along < 1 + 1e-12)
    number = np.arange(n)
    on[number, number] = on[number, (number + 1) % n] = False
    return bool(on.any())


def _is_traced(points: np.ndarray) -> bool:
    """Whether an outline runs along the edges of pixels only, by more than a box's corners."""
    steps = np.roll(points, -1, axis=0) - points
    whole = np.abs(points - np.round(points)).max() < _ON_GRID
    return len(points) > 8 and bool(whole and (np.abs(steps).min(axis=1) < _ON_GRID).all())


def past_edge(box: Box | None, size: tuple[int, int]) -> float:
    """Return by how many pixels a box reaches past the edge of a picture of (height, width)."""
    if box is None:
        return 0.0
    return max(-box[0], -box[1], box[2] - size[1], box[3] - size[0], 0.0)


def _packed(rle: dict[str, Any]) -> dict[str, Any]:
    if isinstance(rle["counts"], list):
        height, width = rle["size"]
        return dict(mask_util.frPyObjects({"size": [height, width], "counts": rle["counts"]}, height, width))
    return rle
