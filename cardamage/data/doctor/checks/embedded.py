"""Labelme files that embed another photo than the one beside them."""

from __future__ import annotations

from collections.abc import Iterator

from ..looks import Look
from ..model import Hit, Subject
from ..registry import check

# Bits of 64 by which the hashes of two photos differ at least; one photo saved again stays far below.
_OTHER = 12


def other_photo(one: Look, other: Look) -> bool:
    """Whether two looks are at different photos; where either can't be hashed, that is not known."""
    if one.hash is None or other.hash is None:
        return False
    return bin(one.hash ^ other.hash).count("1") >= _OTHER


@check(
    "D113",
    "error",
    "embedded picture that is another photo than the file of its name",
    "The annotation belongs to the embedded one; delete or rename the file.",
)
def embedded_elsewhere(subject: Subject) -> Iterator[Hit]:
    """Files named as the Labelme JSON or its imagePath that show another photo than ``imageData``."""
    for picture in subject.pictures:
        if picture.embedded is None:
            continue
        inside = subject.look(picture.embedded)
        for path in picture.beside:
            if other_photo(inside, subject.look(path)):
                yield Hit(picture.embedded, None, "", (path,))
