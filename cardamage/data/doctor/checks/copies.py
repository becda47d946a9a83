"""Photos that are in the set more than once."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterator, Sequence

from ...images.hashes import equal_groups, mirrored_duplicates, near_duplicates, original_name
from ..model import Hit, Subject
from ..registry import check
from .pictures import looked


def _files(subject: Subject) -> list[str]:
    """Each picture file once, also where several paths lead to it."""
    by_place = {os.path.realpath(source): source for source, look, _ in looked(subject) if look.digest}
    return list(by_place.values())


def _exact(subject: Subject) -> list[list[str]]:
    files = _files(subject)
    good = [file for file in files if subject.look(file).trouble not in ("pointer", "other")]
    groups = equal_groups([subject.look(file).digest for file in good])
    return _of_the_set(subject, [[good[i] for i in group] for group in groups])


def _near(subject: Subject) -> list[list[str]]:
    """Groups that hold more than copies byte for byte."""
    files = _files(subject)
    groups = near_duplicates([subject.look(file).hash for file in files])
    named = _of_the_set(subject, [[files[i] for i in group] for group in groups])
    return [group for group in named if len({subject.look(f).digest for f in group}) > 1]


def _moved(subject: Subject) -> Iterator[tuple[list[str], str]]:
    """Groups of which one is another's mirror image, or another turned, and which of these."""
    files = _files(subject)
    looks = [subject.look(file) for file in files]
    hashes = [look.hash for look in looks]
    told: set[frozenset[str]] = set()
    for others, how in (
        ([look.mirrored for look in looks], "mirrored"),
        ([look.half for look in looks], "turned by 180 degrees"),
        ([look.quarter for look in looks], "turned by 90 degrees"),
    ):
        groups = mirrored_duplicates(hashes, others)
        for group in _of_the_set(subject, [[files[i] for i in group] for group in groups]):
            if frozenset(group) not in told:
                told.add(frozenset(group))
                yield group, how


def _of_the_set(subject: Subject, groups: list[list[str]]) -> list[list[str]]:
    """Groups without files that no annotation is about, where these only repeat an embedded picture."""
    loose = set(subject.loose)
    kept = []
    for group in groups:
        if any(file.lower().endswith(".json") for file in group):
            group = [file for file in group if file not in loose]
        if len(group) > 1:
            kept.append(group)
    return kept


def _splits(subject: Subject, files: Sequence[str]) -> list[str]:
    return sorted({subject.splits.get(file, "") for file in files} - {""})


def _hit(files: Sequence[str], text: str) -> Hit:
    return Hit(files[0], None, text, tuple(files[1:]))


@check(
    "D107",
    "warning",
    "photo that is there twice, byte for byte",
    "Keep one, with the better annotation.",
)
def exact_copies(subject: Subject) -> Iterator[Hit]:
    """Copies within a split; those across are D109."""
    for group in _exact(subject):
        if len(_splits(subject, group)) < 2:
            yield _hit(group, f"{len(group)} copies")


@check(
    "D108",
    "warning",
    "photos that look the same",
    "Keep one, or at least keep them in one split.",
)
def near_copies(subject: Subject) -> Iterator[Hit]:
    """Photos saved again, resized, stamped, mirrored, or taken twice."""
    for group in _near(subject):
        if len(_splits(subject, group)) < 2:
            yield _hit(group, f"{len(group)} photos")
    for group, how in _moved(subject):
        if len(_splits(subject, group)) < 2:
            image = "the other's mirror image" if how == "mirrored" else f"the other {how}"
            yield _hit(group, f"{len(group)} photos, one {image}")


@check(
    "D109",
    "error",
    "same photo in two splits",
    "Keep it in one: scores on photos seen in training measure memory.",
)
def leaks(subject: Subject) -> Iterator[Hit]:
    """Copies, byte for byte or nearly, that are in train and test, and files that both list."""
    listing: dict[str, list[str]] = defaultdict(list)
    for picture in subject.pictures:
        if len(subject.all_splits.get(os.path.realpath(picture.source), ())) > 1:
            listing[picture.source].append(picture.file)
    for file, lists in listing.items():
        splits = " and ".join(sorted(subject.all_splits[os.path.realpath(file)]))
        yield _hit([file, *dict.fromkeys(lists)], f"one file, listed in {splits}")
    near = [group for group in _near(subject) if len(_splits(subject, group)) > 1]
    told = {file for group in near for file in group}
    for group in _exact(subject):
        if len(_splits(subject, group)) > 1 and not told.issuperset(group):
            yield _hit(group, f"in {' and '.join(_splits(subject, group))}, byte for byte")
    for group in near:
        yield _hit(group, f"in {' and '.join(_splits(subject, group))}, nearly the same")
    for group, how in _moved(subject):
        if len(_splits(subject, group)) > 1:
            yield _hit(group, f"in {' and '.join(_splits(subject, group))}, {how}")


def _originals(subject: Subject) -> list[list[str]]:
    """Roboflow's copies of each photo that has several."""
    groups: dict[str, list[str]] = defaultdict(list)
    for file in _files(subject):
        name = original_name(file)
        if name is not None:
            groups[name].append(file)
    return [group for group in groups.values() if len(group) > 1]


@check(
    "D110",
    "error",
    "augmented copies of one photo in two splits",
    "Split before augmenting: export without augmentation and split again.",
)
def roboflow_leaks(subject: Subject) -> Iterator[Hit]:
    """Roboflow's copies of a photo, by their names."""
    for group in _originals(subject):
        if len(_splits(subject, group)) > 1:
            yield _hit(group, f"{original_name(group[0])} in {' and '.join(_splits(subject, group))}")


@check(
    "D119",
    "note",
    "augmented copies of one photo in a split",
    "Augmentation in training does this better; export without it.",
)
def roboflow_copies(subject: Subject) -> Iterator[Hit]:
    """Roboflow's copies of a photo that are together."""
    for group in _originals(subject):
        if len(_splits(subject, group)) < 2:
            yield _hit(group, f"{len(group)} copies of {original_name(group[0])}")
