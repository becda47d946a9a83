"""What was read from Labelme files, kept for the next time and used where the content is still the same.

A cache is an index and the packs of images that it names, each run's in a file of its own. A file counts as
unchanged where its size, times and number are those noted, and they were not noted in the same moment as its
last change; otherwise its content decides, by its digest. The picture that belongs to it must be the same
too. A cache that is missing, damaged or of another version is made anew.
"""

from __future__ import annotations

import hashlib
import os
import pickle
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from ....errors import DataError, TrainingError
from ....utils.files import describe_write_error
from ...annotations.report import Notes
from ..dataset import ImageHead
from ..shared import keeping
from ..shared.keeping import load_kept, save_kept, stamp_of
from ..shared.packing import plain_loads
from ..shared.spool import Place, Spool
from .content import read_file
from .file import FileFacts, digest_of
from .picture import PictureFinder

__all__ = ["LabelmeCache", "PackPlace"]

# Changes with what readers find in a file.
_VERSION = 3
# Files of packs, one for each run that read something; with more, everything is read again into one.
_MOST_SPOOLS = 12
# Rows in a block, and blocks that are kept unpacked.
_MOST_ROWS = 1 << 16
_OPEN_BLOCKS = 4

PackPlace = tuple[Spool, Place]
# Paths and rows of some hundred files. Rows are bytes: all of them unpacked would take a lot of memory.
_Block = tuple[list[str], bytes]


class LabelmeCache:
    """The cache of one dataset, read with one set of options.

    Attributes:
        packs: places of the images that it knows.
        known: numbers of the rows by path, in the order in which the files were read.

    Args:
        folder: where caches are; made.
        root: the dataset's folder.
        options: what else makes a difference for what is read.

    Raises:
        TrainingError: where the folder can't be written.
    """

    def __init__(self, folder: str | os.PathLike[str], root: str, options: object) -> None:
        key = hashlib.blake2b(
            repr((os.path.abspath(root), options)).encode("utf-8", "replace"), digest_size=8
        )
        self._folder = os.fspath(folder)
        self._stem = f"labelme-{key.hexdigest()}"
        self.packs: list[PackPlace] = []
        self.known: dict[str, int] = {}
        self._blocks: list[_Block] = []
        self._open: dict[int, list[tuple[Any, ...]]] = {}
        self._noted: list[_Block] = []
        # Files that changed later than this may have changed since, within one moment.
        self._trusted = 0
        try:
            os.makedirs(self._folder, exist_ok=True)
        except OSError as error:
            raise TrainingError(describe_write_error(self._folder, error, "the cache")) from error
        with suppress(OSError, DataError, ValueError, TypeError, KeyError, IndexError):
            self._load()

    def find(self, path: str, finder: PictureFinder) -> FileFacts | None:
        """Return what is known of a file, or None where it must be read."""
        number = self.known.get(path)
        if number is None:
            return None
        facts = self._facts(number)
        stamp = stamp_of(path)
        if stamp is None:
            return None
        # What changed just before it was noted may have changed again within the moment of its stamp.
        if stamp != facts.stamp or max(stamp[1], stamp[2]) > self._trusted:
            if digest_of(read_file(path)) != facts.digest:
                return None
            facts.stamp, facts.number = stamp, -1
        if facts.place < 0:
            return facts
        beside = finder.beside(path, facts.image_path)
        if beside != facts.beside:
            return None
        if facts.looked_at is not None:
            seen = None if beside is None else stamp_of(beside)
            if seen is None or seen != facts.looked_at or max(seen[1], seen[2]) > self._trusted:
                return None
        return facts

    def _facts(self, number: int) -> FileFacts:
        block, place = divmod(number, _MOST_ROWS)
        if block not in self._open:
            if len(self._open) == _OPEN_BLOCKS:
                del self._open[next(iter(self._open))]
            self._open[block] = plain_loads(self._blocks[block][1])
        return _from_row(self._open[block][place], number)

    def new_spool(self) -> Spool:
        """Make a file for the packs of this run."""
        name = f"{self._stem}-{time.time_ns():x}-{os.getpid():x}.packs"
        return Spool(os.path.join(self._folder, name))

    def note(self, entries: Sequence[FileFacts]) -> None:
        """Note some hundred files for the next time, in their order."""
        block = entries[0].number // _MOST_ROWS if entries else -1
        if block >= 0 and len(entries) == len(self._blocks[block][0]):
            if all(facts.number == number for number, facts in enumerate(entries, block * _MOST_ROWS)):
                self._noted.append(self._blocks[block])
                return
        rows = pickle.dumps([_row(facts) for facts in entries], pickle.HIGHEST_PROTOCOL)
        self._noted.append(([facts.path for facts in entries], rows))

    def save(self, packs: list[PackPlace], started: int) -> None:
        """Save what was noted, where it isn't just what was known.

        Args:
            packs: that the files' images are in.
            started: when the reading began, in ns since the epoch.
        """
        if self._noted == self._blocks:
            return
        spools = {id(spool): spool.path for spool, _ in packs}
        names = sorted({os.path.basename(path) for path in spools.values()})
        numbers = {name: number for number, name in enumerate(names)}
        content = {
            "version": _VERSION,
            "saved": started,
            "spools": names,
            "packs": [(numbers[os.path.basename(spool.path)], place) for spool, place in packs],
            "blocks": self._noted,
        }
        save_kept(os.path.join(self._folder, f"{self._stem}.index"), content)
        self._clear(set(names))

    def _load(self) -> None:
        content: Mapping[str, Any] | None = load_kept(os.path.join(self._folder, f"{self._stem}.index"))
        if content is None:
            return
        if content["version"] != _VERSION or len(content["spools"]) > _MOST_SPOOLS:
            return
        paths = [os.path.join(self._folder, name) for name in content["spools"]]
        if not all(os.path.isfile(path) for path in paths):
            return
        spools = [Spool(path) for path in paths]
        packs = [(spools[number], place) for number, place in content["packs"]]
        known = {
            path: block * _MOST_ROWS + place
            for block, (paths, _) in enumerate(content["blocks"])
            for place, path in enumerate(paths)
        }
        if all(place[0] + place[1] + place[3] <= spool.end for spool, place in packs):
            self.packs, self.known, self._blocks = packs, known, content["blocks"]
            self._trusted = content["saved"] - keeping.SAME_MOMENT

    def _clear(self, used: set[str]) -> None:
        """Remove packs of earlier runs that nothing names any more."""
        for name in os.listdir(self._folder):
            if name.startswith(self._stem) and name.endswith(".packs") and name not in used:
                with suppress(OSError):
                    os.unlink(os.path.join(self._folder, name))


def _row(facts: FileFacts) -> tuple[Any, ...]:
    notes = None if facts.notes is None else (facts.notes.read, facts.notes.findings)
    head = None if facts.head is None else tuple(facts.head)
    return (
        *(facts.path, facts.name, facts.labels, notes, facts.stamp, facts.digest, facts.image_path),
        *(facts.beside, facts.looked_at, head, facts.pack, facts.place),
    )


def _from_row(row: tuple[Any, ...], number: int) -> FileFacts:
    facts = FileFacts(*row)
    facts.number = number
    if facts.notes is not None:
        facts.notes = Notes(*row[3])
    if facts.head is not None:
        facts.head = ImageHead(*row[9])
    return facts
