"""Labelme files that embed another photo than the one beside them."""

from __future__ import annotations

from collections.abc import Iterator

from ...images.hashes import same_photo
from ..model import Hit, Subject
from ..registry import check


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
            if same_photo(inside.hash, subject.look(path).hash) is False:
                yield Hit(picture.embedded, None, "", (path,))
