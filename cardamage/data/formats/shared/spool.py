"""Images packed into a file: a dataset of any size takes no more memory than a few hundred of them."""

from __future__ import annotations

import io
import os
import pickle
import tempfile
import zlib
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from ....errors import DataError
from ....utils.heap import without_collection
from ...annotations.checks import RawAnnotation
from ..dataset import AnnotatedImage

__all__ = ["Place", "Spool", "SpooledImages", "pack", "plain_loads", "unpack"]

# Offset, length and checksum of a pack in its file.
Place = tuple[int, int, int]

# Packs that are kept unpacked. Images of one pack may lie among those of others.
_OPEN_PACKS = 4


def pack(images: Sequence[AnnotatedImage]) -> bytes:
    """Turn images into bytes. Their ``extra`` may hold what JSON can hold."""
    outlines: list[np.ndarray] = []
    records = [
        (
            *(image.name, image.source, image.height, image.width, image.embedded, image.split, image.extra),
            [_packed(raw, outlines) for raw in image.annotations],
        )
        for image in images
    ]
    points = np.concatenate(outlines).tobytes() if outlines else b""
    return pickle.dumps((records, points), pickle.HIGHEST_PROTOCOL)


def unpack(data: bytes) -> list[AnnotatedImage]:
    """Turn what :func:`pack` returned back into images. No code is run, whatever the bytes hold.

    Raises:
        pickle.UnpicklingError: for other bytes.
    """
    with without_collection():
        return _unpacked(*plain_loads(data))


def _unpacked(records: list[Any], flat: bytes) -> list[AnnotatedImage]:
    points = np.frombuffer(bytearray(flat), dtype=np.float64).reshape(-1, 2)
    images, at = [], 0
    for name, source, height, width, embedded, split, extra, packed in records:
        annotations = []
        for place, counts, polygons, *rest in packed:
            if counts is not None:
                polygons = []
                for count in counts:
                    polygons.append(points[at : at + count])
                    at += count
            annotations.append(RawAnnotation(place, polygons, *rest))
        images.append(AnnotatedImage(name, source, height, width, annotations, embedded, split, extra))
    return images


def plain_loads(data: bytes) -> Any:
    """Load a pickle of numbers, texts, lists, tuples and dicts.

    Raises:
        pickle.UnpicklingError: for one that names anything else.
    """
    return _PlainUnpickler(io.BytesIO(data)).load()


def _packed(raw: RawAnnotation, outlines: list[np.ndarray]) -> tuple[Any, ...]:
    """An annotation without its outline, which goes to `outlines` where it is arrays of points."""
    polygons, counts = raw.polygons, None
    if polygons is not None and all(type(p) is np.ndarray and p.shape[1:] == (2,) for p in polygons):
        counts = [len(polygon) for polygon in polygons]
        outlines += polygons
        polygons = None
    return raw.place, counts, polygons, raw.rle, raw.bbox, raw.iscrowd, raw.extra, raw.label


class _PlainUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        """Refuse everything but numbers, texts, lists and dicts."""
        raise pickle.UnpicklingError(f"{module}.{name} has no place among annotations")


class Spool:
    """A file of packs, which goes away with the object unless it is given a path.

    Attributes:
        path: the file; empty for a temporary one.
        end: its length.

    Args:
        path: the file; None makes a temporary one.
    """

    def __init__(self, path: str | None = None) -> None:
        self.path = path or ""
        self._file = tempfile.TemporaryFile(prefix="cardamage-") if path is None else open(path, "a+b")  # noqa: SIM115
        self.end = self._file.seek(0, os.SEEK_END)
        # Another process may have this file open as well, so places are read, not the file's position.
        self._descriptor = self._file.fileno()

    def append(self, data: bytes) -> Place:
        """Add a pack and return where it is: offset, length and checksum."""
        place = (self.end, len(data), zlib.crc32(data))
        self._file.write(data)
        self.end += len(data)
        return place

    def finish(self) -> None:
        """Write what is still held back."""
        self._file.flush()

    def read(self, place: Place) -> list[AnnotatedImage]:
        """Return the images of a pack.

        Raises:
            DataError: where the file was damaged.
        """
        offset, length, checksum = place
        if hasattr(os, "pread"):
            data = os.pread(self._descriptor, length, offset)
        else:
            self._file.seek(offset)
            data = self._file.read(length)
        if len(data) != length or zlib.crc32(data) != checksum:
            raise DataError(
                f"The file {self.path or 'of annotations'} was damaged while in use; read the dataset again."
            )
        return unpack(data)


class SpooledImages:
    """Images in spools, as a collection that can be gone through any number of times.

    Args:
        packs: spools and places of packs.
        where: number of the pack and place in it, for each image in order; int of shape (images, 2).
        names: other names than the packed ones, by number of the image.
    """

    def __init__(
        self,
        packs: Sequence[tuple[Spool, Place]],
        where: np.ndarray,
        names: Mapping[int, str] | None = None,
    ) -> None:
        self._packs = list(packs)
        self._where = where
        self._names = names or {}

    def __len__(self) -> int:
        return len(self._where)

    def __iter__(self) -> Iterator[AnnotatedImage]:
        opened: OrderedDict[int, list[AnnotatedImage]] = OrderedDict()
        for number, (pack_number, place) in enumerate(self._where.tolist()):
            if pack_number not in opened:
                if len(opened) == _OPEN_PACKS:
                    opened.popitem(last=False)
                spool, at = self._packs[pack_number]
                opened[pack_number] = spool.read(at)
            image = opened[pack_number][place]
            image.name = self._names.get(number, image.name)
            yield image
