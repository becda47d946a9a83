"""One Labelme file read: its image with objects, and what must stay the same for that to stay true."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from ...annotations.report import Notes
from ...images.signs import SUFFIXES
from ..dataset import AnnotatedImage, ImageHead, Prepare, Prepared
from ..shared.keeping import Stamp, stamp_of
from ..shared.packing import labels_of
from .content import LabelmeJson, parse_labelme, read_file
from .folder import Listings
from .objects import TAKEN, objects_of, shape_label
from .picture import PictureFinder, picture_size

__all__ = ["FileFacts", "LabelmeReader", "digest_of"]

# Characters of the base64 of a picture, in which its header is nearly always.
_HEAD_TEXT = 1 << 16
_OWN = frozenset({"version", "flags", "shapes", "imagePath", "imageData", "imageHeight", "imageWidth"})


@dataclass(slots=True)
class FileFacts:
    """What is known about a JSON file.

    Attributes:
        path: the file.
        name: its image's; None where it is no Labelme file.
        labels: of all its shapes.
        notes: what a report is told; None for nothing.
        stamp: of the file, before it was read.
        digest: of its content.
        image_path: its ``imagePath``.
        beside: the picture that was found by that.
        looked_at: the picture's stamp, where its content counted.
        head: of its image, where that was prepared.
        pack: number of the pack that holds its image; -1 while it has none.
        place: of the image in the pack; -1 for files that have none.
        number: of the row of a cache that it is from and still agrees with, or -1.
        picture: first part of the base64 of the embedded picture, until that is prepared.
    """

    path: str
    name: str | None = None
    labels: tuple[str, ...] = ()
    notes: Notes | None = None
    stamp: Stamp | None = None
    digest: bytes = b""
    image_path: Any = None
    beside: str | None = None
    looked_at: Stamp | None = None
    head: ImageHead | None = None
    pack: int = -1
    place: int = -1
    number: int = -1
    picture: bytes | None = None


class LabelmeReader:
    """Reads the files of one dataset.

    Args:
        root: the dataset's folder.
        line_width: of lines and line strips that don't say theirs, in pixels.
        image_root: a folder of pictures besides the usual places.
        digests: whether to take stamps and digests, for a cache.
        listings: what is known of folders already.
        prepare: what is done with the images that are read together.
    """

    def __init__(
        self,
        root: str,
        line_width: float,
        image_root: str | None,
        digests: bool = False,
        listings: Listings | None = None,
        prepare: Prepare | None = None,
    ) -> None:
        self.finder = PictureFinder(root, image_root, listings)
        self._line_width = line_width
        self._digests = digests
        self._prepare = prepare
        self._start = "" if root == "." else os.path.join(root, "")

    def read_all(self, paths: Sequence[str]) -> tuple[list[FileFacts], list[AnnotatedImage]]:
        """Read files together; there are fewer images where some files aren't Labelme's.

        Raises:
            DataError: for the first file that can't be used.
        """
        found = [self.read(path) for path in paths]
        images = [image for _, image in found if image is not None]
        if self._prepare is not None:
            facts = [facts for facts, image in found if image is not None]
            done = self._prepare(images, [known.picture for known in facts])
            for known, image, prepared in zip(facts, images, done, strict=True):
                known.picture = None
                _take_in(known, image, prepared)
        return [facts for facts, _ in found], images

    def read(self, path: str) -> tuple[FileFacts, AnnotatedImage | None]:
        """Read a file; there is no image where it isn't Labelme's.

        Raises:
            DataError: for a file that can't be used.
        """
        facts = FileFacts(path)
        if self._digests:
            facts.stamp = stamp_of(path)
        data = read_file(path)
        if self._digests:
            facts.digest = digest_of(data)
        file = parse_labelme(data, path)
        if file is None:
            return facts, None
        return facts, self._image(path, file, facts)

    def _image(self, path: str, file: LabelmeJson, facts: FileFacts) -> AnnotatedImage:
        content = file.content
        facts.image_path = content.get("imagePath")
        facts.beside = self.finder.beside(path, facts.image_path)
        picture, embedded = self.finder.find(path, file, facts.beside)
        size = picture_size(path, content, picture)
        if self._digests and (self._prepare is not None or file.embedded or not _says_size(content)):
            facts.looked_at = None if facts.beside is None else stamp_of(facts.beside)
        shapes = content["shapes"]
        labels = [shape_label(shape) for shape in shapes]
        facts.labels = tuple(dict.fromkeys(labels))
        notes = Notes()
        objects = objects_of(path, shapes, labels, size, self._line_width, notes)
        facts.notes = notes if notes.findings else None
        facts.name = self._embedded_name(path, file) if embedded else self._name(picture)
        if embedded and self._prepare is not None and file.picture is not None:
            facts.picture = file.picture[:_HEAD_TEXT]
        extra = {f"labelme_{k}" if k in TAKEN else k: v for k, v in content.items() if k not in _OWN}
        if flags := content.get("flags"):
            extra["flags"] = flags
        return AnnotatedImage(facts.name, picture, *size, objects, embedded, extra=extra)

    def _embedded_name(self, path: str, file: LabelmeJson) -> str:
        return self._name(path)[: -len(".json")] + SUFFIXES.get(file.kind() or "", (".jpg",))[0]

    def _name(self, path: str) -> str:
        """A path below the root, with forward slashes; what leads out of it is left out."""
        if path.startswith(self._start) and ".." not in path:
            relative = path[len(self._start) :]
            return relative if os.sep == "/" else relative.replace(os.sep, "/")
        relative = os.path.relpath(path.replace("\0", "_"), self._start or ".")
        parts = [part for part in relative.split(os.sep) if part != ".."]
        return PurePosixPath(*parts).as_posix()


def _take_in(facts: FileFacts, image: AnnotatedImage, prepared: Prepared) -> None:
    image.annotations = prepared.annotations
    if prepared.notes is not None:
        notes = facts.notes = facts.notes or Notes()
        notes.read += prepared.notes.read
        notes.findings += prepared.notes.findings
    counts: dict[str, int] = {}
    for label in labels_of(prepared.annotations):
        counts[label] = counts.get(label, 0) + 1
    size = (image.height, image.width)
    facts.head = ImageHead(
        image.name, image.source, size, image.embedded, image.split, tuple(counts.items()), prepared.good
    )


def digest_of(data: bytes) -> bytes:
    """Return what tells contents apart."""
    return hashlib.sha256(data).digest()[:16]


def _says_size(content: dict[str, Any]) -> bool:
    return all(type(content.get(key)) is int for key in ("imageHeight", "imageWidth"))
