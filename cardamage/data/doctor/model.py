"""What the doctor looks at: a dataset as its files have it, mistakes included."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np

from .looks import Look
from .shape import Hit, Shape

__all__ = ["Hit", "Part", "Picture", "Shape", "Subject"]


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
        moved: whether it was found elsewhere than the annotation says.
        swapped: whether the stated height is the width, as its shapes show.
        turned: whether it was turned by 90 degrees since it was annotated, as its shapes show.
        also_in: further splits that list it.
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
    moved: bool = False
    swapped: bool = False
    turned: bool = False
    also_in: tuple[str, ...] = ()

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
        off_by_one: whether its class numbers are one off its list; labels are as they are meant.
        lists: files that list the pictures of a split, and the picture of each line without links.
    """

    source: str
    format: str
    split: str = ""
    classes: list[str] = field(default_factory=list)
    placeholders: list[str] = field(default_factory=list)
    pictures: list[Picture] = field(default_factory=list)
    notes: dict[str, list[Hit]] = field(default_factory=lambda: defaultdict(list))
    states_classes: bool = True
    off_by_one: bool = False
    lists: dict[str, dict[int, str]] = field(default_factory=dict)

    @property
    def shapes(self) -> Iterator[Shape]:
        """All shapes of all pictures."""
        return (shape for picture in self.pictures for shape in picture.shapes)

    @cached_property
    def object_keys(self) -> np.ndarray:
        """A number for each different object, which files that hold the same objects share; sorted int64."""
        keys = []
        for picture in self.pictures:
            place = os.path.realpath(picture.source)
            for shape in picture.shapes:
                extent = tuple(round(v, 1) for v in shape.extent or ())
                points = tuple(map(len, shape.rings))
                keys.append(hash((place, shape.label or "", shape.kind, extent, points)))
        return np.unique(np.array(keys, dtype=np.int64))

    def note(
        self,
        code: str,
        file: str | Path,
        index: int | None = None,
        text: str = "",
        others: Iterable[str] = (),
    ) -> None:
        """Remember something for the finding of this code."""
        self.notes[code].append(Hit(str(file), index, text, tuple(others)))


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

    @cached_property
    def counted_parts(self) -> list[Part]:
        """The parts, without those of which every object is in others too; those of a split go first."""
        left_out: set[int] = set()
        seen = np.empty(0, dtype=np.int64)
        for part in sorted(self.parts, key=lambda part: not part.split):
            if len(part.object_keys) and np.isin(part.object_keys, seen).all():
                left_out.add(id(part))
            seen = np.concatenate([seen, part.object_keys])
        return [part for part in self.parts if id(part) not in left_out]

    @property
    def told_pictures(self) -> Iterator[Picture]:
        """The pictures of the parts that count: what is wrong with an object is told once."""
        return (picture for part in self.counted_parts for picture in part.pictures)

    @property
    def shapes(self) -> Iterator[Shape]:
        """The shapes of the parts that count."""
        return (shape for part in self.counted_parts for shape in part.shapes)

    def look(self, source: str) -> Look:
        """What a picture file is; a missing one if it was not looked at."""
        return self.looks.get(source, Look(trouble="missing"))

    @cached_property
    def splits(self) -> dict[str, str]:
        """The split of each picture file; of loose ones the one that their path names."""
        found = {picture.source: picture.split for picture in self.pictures}
        return {**self.loose, **found}

    @cached_property
    def all_splits(self) -> dict[str, set[str]]:
        """The splits that each picture file is listed in, by its path without links."""
        found: dict[str, set[str]] = defaultdict(set)
        for picture in self.pictures:
            if picture.source and picture.split:
                found[os.path.realpath(picture.source)].update((picture.split, *picture.also_in))
        return found
