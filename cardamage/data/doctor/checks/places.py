"""Labels without picture, pictures without label, and splits that are not where they should be."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterator

import numpy as np

from ..model import Hit, Part, Picture, Subject
from ..registry import check, noted

# Pictures with the same objects in two files that are no chance.
_ENOUGH = 3

noted(
    "D310",
    "warning",
    "label file without picture",
    "Put the picture there, or delete the label file.",
    "left out",
)


@check(
    "D311",
    "warning",
    "picture without label",
    "Label it, or leave an empty label file to say that nothing is there.",
)
def unlabelled(subject: Subject) -> Iterator[Hit]:
    """Pictures in the folders that no annotation is about."""
    for path in subject.loose:
        yield Hit(path)
    for picture in subject.pictures:
        if not picture.labelled:
            yield Hit(picture.source)


noted(
    "D318",
    "error",
    "labels where readers don't look for them",
    "Call the folder 'labels', beside 'images', and the files .txt: else the pictures count as empty.",
)
noted(
    "D312",
    "warning",
    "split whose folder isn't where the YAML says",
    "Correct the path; relative ones survive a move.",
)
noted(
    "D313",
    "error",
    "two splits that are one folder",
    "Split the pictures: scores on the training set say nothing.",
)
noted(
    "D314",
    "warning",
    "label file that two pictures share",
    "Rename one of the pictures.",
)


@check(
    "D315",
    "note",
    "annotation files that hold the same",
    "Read one of them only, or each object counts twice.",
)
def same_annotations(subject: Subject) -> Iterator[Hit]:
    """Exports of one set in several formats, and files that hold all that smaller ones do."""
    groups: dict[bytes, list[Part]] = defaultdict(list)
    for part in subject.parts:
        if len(part.object_keys):
            groups[part.object_keys.tobytes()].append(part)
    for parts in groups.values():
        if len(parts) > 1:
            yield Hit(parts[0].source, None, f"{len(parts)} files", tuple(p.source for p in parts[1:]))
    different = [parts[0] for parts in groups.values()]
    for whole in different:
        inside = [part.source for part in different if _is_within(part, whole)]
        if inside:
            yield Hit(whole.source, None, "all objects of other files are in it too", tuple(inside))


def _is_within(part: Part, whole: Part) -> bool:
    fewer = len(part.object_keys) < len(whole.object_keys)
    return fewer and bool(np.isin(part.object_keys, whole.object_keys).all())


@check(
    "D316",
    "warning",
    "picture that is listed twice",
    "Join the entries: each of them lacks the other's objects.",
)
def listed_twice(subject: Subject) -> Iterator[Hit]:
    """Entries of one annotation file, or of one list, for the same picture."""
    for part in subject.parts:
        yield from part.notes.get("D316", ())
        places: dict[str, list[Picture]] = defaultdict(list)
        for picture in part.pictures:
            if picture.source and picture.index is not None:
                places[os.path.abspath(picture.source)].append(picture)
        for source, several in places.items():
            if len(several) > 1:
                same = len({_objects(picture) for picture in several}) == 1 and several[0].shapes
                numbers = ", ".join(str(picture.index) for picture in several[:5])
                text = f"{source} is listed as {numbers}{', with the same objects' if same else ''}"
                yield Hit(part.source, several[1].index, text)
        if part.format == "labelme":
            yield from _shared_pictures(part)


def _objects(picture: Picture) -> frozenset[tuple[str, tuple[float, ...]]]:
    """What is marked in a picture, to a tenth of a pixel."""
    return frozenset(
        (shape.label or "", tuple(round(v, 1) for v in shape.extent or ())) for shape in picture.shapes
    )


@check(
    "D321",
    "error",
    "annotations of a split that are another's",
    "Export the split again: its own pictures are not annotated here.",
)
def of_another_split(subject: Subject) -> Iterator[Hit]:
    """A file of one split copied over that of another, so that its pictures are not there."""
    first: dict[frozenset[tuple[str, object]], Part] = {}
    for part in subject.parts:
        held = frozenset((os.path.basename(p.name), _objects(p)) for p in part.pictures if p.shapes)
        if len(held) >= _ENOUGH and part.split:
            copy, other = sorted((part, first.setdefault(held, part)), key=lambda p: -_missing(subject, p))
            if other.split != copy.split and 2 * _missing(subject, copy) > len(copy.pictures):
                yield Hit(copy.source, None, f"{copy.split} has what {other.split} has", (other.source,))


def _missing(subject: Subject, part: Part) -> int:
    return sum(subject.look(picture.source).trouble == "missing" for picture in part.pictures)


def _shared_pictures(part: Part) -> Iterator[Hit]:
    """Labelme files about one picture, such as copies of a file."""
    files: dict[str, list[str]] = defaultdict(list)
    for picture in part.pictures:
        if picture.embedded is None:
            files[os.path.realpath(picture.source)].append(picture.file)
    for source, several in files.items():
        if len(several) > 1:
            yield Hit(several[1], None, f"also about {os.path.basename(source)}", (several[0], *several[2:]))


noted(
    "D319",
    "note",
    "labelled picture that is in no list of a split",
    "Nothing trains on it or tests with it; add it to a list, unless it was left out on purpose.",
)


@check(
    "D317",
    "note",
    "picture without objects",
    "Right where nothing is damaged: it teaches what not to find.",
)
def empty(subject: Subject) -> Iterator[Hit]:
    """Pictures that are labelled as having nothing in them."""
    for picture in subject.told_pictures:
        if picture.labelled and not picture.shapes:
            yield Hit(picture.source or picture.file, None, "", (picture.file,))
