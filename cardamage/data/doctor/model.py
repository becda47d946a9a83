"""What the doctor looks at: a dataset as its files have it, mistakes included."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pycocotools.mask as mask_util

from ..annotations import outlines
from .looks import Look

__all__ = ["Hit", "Part", "Picture", "Shape", "Subject"]

# Crossings are looked for up to this many points: the work grows with the square.
_MOST_POINTS = 2000
# Pixels from an edge at which a point counts as on it.
_ON_EDGE = 1e-9
# Runs of a mask that claims to be larger than this are not drawn.
_MOST_PIXELS = 1 << 28


@dataclass(frozen=True)
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


@dataclass
class Shape:
    """One object as its file has it.

    Attributes:
        file: the annotation file.
        index: in that file; see :class:`Hit`.
        label: name of its class; None where it has none.
        rings: outlines as they are, each of shape (points, 2) in pixels; closing points are kept.
        rle: a mask in place of rings.
        box: stated x0, y0, x1, y1.
        size: height and width of the picture that it was drawn on.
        kind: ``"outline"``, ``"box"`` (it has no outline) or ``"mask"``.
        stated_area: as the file says.
        crowd: whether it stands for many objects.
        by_hand: whether a box was drawn with a box tool, so that its outline is four corners by intent.
        line: whether it is a line, and its rings are what that covers.
    """

    file: str
    index: int
    label: str | None
    rings: list[Any] = field(default_factory=list)
    rle: dict[str, Any] | None = None
    box: tuple[float, float, float, float] | None = None
    size: tuple[int, int] = (0, 0)
    kind: str = "outline"
    stated_area: float | None = None
    crowd: bool = False
    by_hand: bool = False
    line: bool = False

    def hit(self, text: str = "") -> Hit:
        """Return a case of a finding at this shape."""
        named = f"{self.label}: " if self.label else ""
        return Hit(self.file, self.index, f"{named}{text}" if text else (self.label or ""))

    @cached_property
    def points(self) -> list[np.ndarray]:
        """The rings without repeats of a point in a row and opened."""
        return [outlines.as_points(ring) for ring in self.rings]

    @cached_property
    def crosses(self) -> bool:
        """Whether a ring crosses itself."""
        return any(len(p) <= _MOST_POINTS and outlines.crosses_itself(p) for p in self.points)

    @cached_property
    def touches(self) -> bool:
        """Whether a ring touches itself, or folds back on itself."""
        return any(len(p) <= _MOST_POINTS and _touches(p) for p in self.points)

    @cached_property
    def extent(self) -> tuple[float, float, float, float] | None:
        """x0, y0, x1, y1 around what was drawn; the stated box where there is no outline."""
        corners = [p for p in self.points if len(p)]
        if corners:
            every = np.concatenate(corners)
            return (*every.min(axis=0).tolist(), *every.max(axis=0).tolist())
        return self.box

    @cached_property
    def excess(self) -> float:
        """By how many pixels what was drawn reaches past the edge of the picture."""
        return past_edge(self.extent, self.size)

    @cached_property
    def mask_trouble(self) -> str | None:
        """What is wrong with a run-length mask, or None."""
        if self.rle is None:
            return None
        size, counts = self.rle.get("size"), self.rle.get("counts")
        if (
            not isinstance(size, (list, tuple))
            or len(size) != 2
            or not isinstance(counts, (list, str, bytes))
        ):
            return "it has no size and counts"
        if 0 not in self.size and list(size) != list(self.size):
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

    @cached_property
    def area(self) -> float | None:
        """Pixels of the mask; of a box its area. None where that can't be told."""
        height, width = self.size
        if self.kind == "box":
            return None if self.box is None else (self.box[2] - self.box[0]) * (self.box[3] - self.box[1])
        if self.mask_trouble or not 0 < height * width <= _MOST_PIXELS:
            return None
        try:
            if self.rle is not None:
                return float(mask_util.area(_packed(self.rle, height, width)))
            usable = [outlines.flat(p) for p in self.points if len(p) >= 3]
            if not usable:
                return 0.0
            return float(mask_util.area(mask_util.merge(mask_util.frPyObjects(usable, height, width))))
        except (TypeError, ValueError, KeyError, IndexError):
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


def past_edge(box: tuple[float, float, float, float] | None, size: tuple[int, int]) -> float:
    """Return by how many pixels a box reaches past the edge of a picture of (height, width)."""
    if box is None:
        return 0.0
    return max(-box[0], -box[1], box[2] - size[1], box[3] - size[0], 0.0)


def _packed(rle: dict[str, Any], height: int, width: int) -> dict[str, Any]:
    if isinstance(rle["counts"], list):
        return dict(mask_util.frPyObjects({"size": [height, width], "counts": rle["counts"]}, height, width))
    return rle


@dataclass
class Picture:
    """One picture that a dataset names.

    Attributes:
        file: the annotation file that names it.
        index: its number there; None where the file is about it alone.
        name: as written.
        source: the file that holds its pixels, whether it is there or not: a picture, or the Labelme JSON
            that embeds one.
        size: stated height and width; None where they are not stated.
        shapes: what was marked in it.
        split: ``"train"``, ``"val"``, ``"test"`` or another name; empty where there is none.
        embedded: the Labelme JSON that embeds a picture, also where another file is the source.
        beside: picture files with the name that the JSON says or has.
        labelled: whether the set has annotations for it, be it none on purpose.
    """

    file: str
    index: int | None
    name: str
    source: str
    size: tuple[int, int] | None = None
    shapes: list[Shape] = field(default_factory=list)
    split: str = ""
    embedded: str | None = None
    beside: list[str] = field(default_factory=list)
    labelled: bool = True

    def __post_init__(self) -> None:
        # No file can be called so, and the functions of the system would refuse it everywhere.
        self.source = self.source.replace("\0", "\N{REPLACEMENT CHARACTER}")
        try:
            os.fsencode(self.source)
        except UnicodeEncodeError:
            self.source = self.source.encode("utf-8", errors="replace").decode("utf-8")

    def hit(self, text: str = "") -> Hit:
        """Return a case of a finding at this picture."""
        return Hit(self.source, None, text)


@dataclass
class Part:
    """What one annotation file holds; of formats with a file for each picture, one split.

    Attributes:
        source: the file or folder.
        format: ``"coco"``, ``"labelme"``, ``"via"``, ``"yolo"`` or ``"masks"``.
        split: see :class:`Picture`.
        classes: stated names, in their order; empty where the format states none.
        placeholders: stated names that stand for no class.
        pictures: in the order of the file.
        notes: what the reader stumbled over, by the code of the finding.
        states_classes: whether the order of the classes is given by the file.
    """

    source: str
    format: str
    split: str = ""
    classes: list[str] = field(default_factory=list)
    placeholders: list[str] = field(default_factory=list)
    pictures: list[Picture] = field(default_factory=list)
    notes: dict[str, list[Hit]] = field(default_factory=lambda: defaultdict(list))
    states_classes: bool = True

    @property
    def shapes(self) -> Iterator[Shape]:
        """All shapes of all pictures."""
        return (shape for picture in self.pictures for shape in picture.shapes)

    def note(self, code: str, file: str | Path, index: int | None = None, text: str = "") -> None:
        """Remember something for the finding of this code."""
        self.notes[code].append(Hit(str(file), index, text))


@dataclass
class Subject:
    """All that is checked together.

    Attributes:
        sources: what was asked for.
        parts: what they hold.
        looks: what picture files are, by path; see :mod:`.looks`.
        loose: picture files in the folders that no annotation is about, with their splits.
    """

    sources: list[str]
    parts: list[Part]
    looks: dict[str, Look] = field(default_factory=dict)
    loose: dict[str, str] = field(default_factory=dict)

    @property
    def pictures(self) -> Iterator[Picture]:
        """All pictures of all parts."""
        return (picture for part in self.parts for picture in part.pictures)

    @property
    def shapes(self) -> Iterator[Shape]:
        """All shapes of all parts."""
        return (shape for part in self.parts for shape in part.shapes)

    def look(self, source: str) -> Look:
        """What a picture file is; a missing one if it was not looked at."""
        return self.looks.get(source, Look(trouble="missing"))

    @cached_property
    def splits(self) -> dict[str, str]:
        """The split of each picture file; of loose ones the one that their path names."""
        found = {picture.source: picture.split for picture in self.pictures}
        return {**self.loose, **found}
