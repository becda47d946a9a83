"""Labels without picture, pictures without label, and splits that are not where they should be."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterator

import numpy as np

from ..model import Hit, Part, Subject
from ..registry import check, noted

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
        places: dict[str, list[int]] = defaultdict(list)
        for picture in part.pictures:
            if picture.source and picture.index is not None:
                places[os.path.abspath(picture.source)].append(picture.index)
        for source, numbers in places.items():
            if len(numbers) > 1:
                text = f"{source} is listed as {', '.join(map(str, numbers[:5]))}"
                yield Hit(part.source, numbers[1], text)
        if part.format == "labelme":
            yield from _shared_pictures(part)


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
