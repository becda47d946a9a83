"""Images packed into a file: a dataset of any size takes no more memory than a few hundred of them."""

from __future__ import annotations

import os
import tempfile
import zlib
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace

import numpy as np

from ....errors import DataError, TrainingError
from ....utils.files import describe_write_error
from ..dataset import AnnotatedImage
from .packing import Packed, unpack

__all__ = ["Place", "Spool", "SpooledImages"]

# Where a pack is in its file: offset, then length and checksum of each of its parts.
Place = tuple[int, int, int, int, int]

# Packs that are kept unpacked. Images of one pack may lie among those of others.
_OPEN_PACKS = 4


class Spool:
    """A file of packs, which goes away with the object unless it is given a path.

    Attributes:
        path: the file; empty for a temporary one.
        end: its length.

    Args:
        path: the file; None makes a temporary one.

    Raises:
        TrainingError: where it can't be written; also later, when something is added.
    """

    def __init__(self, path: str | None = None) -> None:
        self.path = path or ""
        try:
            self._file = tempfile.TemporaryFile(prefix="cardamage-") if path is None else open(path, "a+b")  # noqa: SIM115
        except OSError as error:
            raise self._unwritable(error) from error
        self.end = self._file.seek(0, os.SEEK_END)
        # Another process may have this file open as well, so places are read, not the file's position.
        self._descriptor = self._file.fileno()

    def append(self, packed: Packed) -> Place:
        """Add a pack and return where it is."""
        light, outlines = packed
        place = (self.end, len(light), zlib.crc32(light), len(outlines), zlib.crc32(outlines))
        try:
            self._file.write(light)
            self._file.write(outlines)
        except OSError as error:
            raise self._given_up(error) from error
        self.end += len(light) + len(outlines)
        return place

    def finish(self) -> None:
        """Write what is still held back."""
        try:
            self._file.flush()
        except OSError as error:
            raise self._given_up(error) from error

    def read(self, place: Place) -> list[AnnotatedImage]:
        """Return the images of a pack; their annotations are read when they are asked for.

        Raises:
            DataError: where the file was damaged; also later, when annotations are asked for.
        """
        offset, length, checksum, further, checksum_further = place
        light = self._bytes(offset, length, checksum)
        return unpack(light, lambda: self._bytes(offset + length, further, checksum_further))

    def _bytes(self, offset: int, length: int, checksum: int) -> bytes:
        if hasattr(os, "pread"):
            data = os.pread(self._descriptor, length, offset)
        else:
            self._file.seek(offset)
            data = self._file.read(length)
        if len(data) != length or zlib.crc32(data) != checksum:
            raise DataError(self._damaged())
        return data

    def _damaged(self) -> str:
        if not self.path:
            return "A temporary file of annotations was damaged while in use; run this again."
        # Its cache is of no use any more: the next run is to begin without.
        with suppress(OSError):
            os.unlink(self.path)
        return f"The cache {self.path} is damaged and was removed; run this again."

    def _given_up(self, error: OSError) -> TrainingError:
        # What is held back can't be written later either.
        with suppress(OSError):
            self._file.close()
        if self.path:
            with suppress(OSError):
                os.unlink(self.path)
        return self._unwritable(error)

    def _unwritable(self, error: OSError) -> TrainingError:
        if self.path:
            return TrainingError(describe_write_error(os.path.dirname(self.path), error, "XDG_CACHE_HOME"))
        return TrainingError(describe_write_error(tempfile.gettempdir(), error, "TMPDIR"))


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
        if not self._names:
            return self._packed()
        return (
            replace(image, name=self._names.get(number, image.name))
            for number, image in enumerate(self._packed())
        )

    def _packed(self) -> Iterator[AnnotatedImage]:
        opened: OrderedDict[int, list[AnnotatedImage]] = OrderedDict()
        last, images = -1, list[AnnotatedImage]()
        for pack_number, place in self._where.tolist():
            if pack_number != last:
                if pack_number not in opened:
                    if len(opened) == _OPEN_PACKS:
                        opened.popitem(last=False)
                    spool, at = self._packs[pack_number]
                    opened[pack_number] = spool.read(at)
                last, images = pack_number, opened[pack_number]
            yield images[place]
