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
from dataclasses import dataclass
from typing import Any

from ....errors import DataError, TrainingError
from ....utils.files import atomic_write, describe_write_error
from ..shared.spool import Place, Spool, plain_loads
from .content import read_file
from .file import FileFacts, digest_of, stamp_of
from .objects import Notes
from .picture import PictureFinder

__all__ = ["Known", "LabelmeCache", "PackPlace"]

# Changes with what readers find in a file.
_VERSION = 1
# Nanoseconds within which a file system may give two changes one time.
_SAME_MOMENT = 2_000_000_000
# Files of packs, one for each run that read something; with more, everything is read again into one.
_MOST_SPOOLS = 12

PackPlace = tuple[Spool, Place]


@dataclass(slots=True)
class Known:
    """A file's entry.

    Attributes:
        facts: about the file.
        pack: number of the pack that holds its image; -1 while it has none.
        place: of the image in the pack; -1 for files that have none.
    """

    facts: FileFacts
    pack: int
    place: int


class LabelmeCache:
    """The cache of one dataset, read with one set of options.

    Attributes:
        packs: places of the images that it knows.
        known: rows of the index by path, in the order in which they were read.

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
        self._fresh = True
        self.known: dict[str, tuple[Any, ...]] = {}
        # Files that changed later than this may have changed since, within one moment.
        self._trusted = 0
        try:
            os.makedirs(self._folder, exist_ok=True)
        except OSError as error:
            raise TrainingError(describe_write_error(self._folder, error, "the cache")) from error
        with suppress(OSError, DataError, pickle.UnpicklingError, ValueError, TypeError, KeyError, EOFError):
            self._load()

    def find(self, path: str, finder: PictureFinder) -> Known | None:
        """Return what is known of a file, or None where it must be read."""
        row = self.known.get(path)
        if row is None:
            return None
        known = _entry(row)
        stamp = stamp_of(path)
        if stamp is None:
            return None
        if stamp != known.facts.stamp or stamp[1] > self._trusted or stamp[2] > self._trusted:
            self._fresh = False
            if digest_of(read_file(path)) != known.facts.digest:
                return None
            known.facts.stamp = stamp
        if known.place < 0:
            return known
        facts = known.facts
        beside = finder.beside(path, facts.image_path)
        if beside != facts.beside:
            return None
        if facts.looked_at is not None and (beside is None or stamp_of(beside) != facts.looked_at):
            return None
        return known

    def new_spool(self) -> Spool:
        """Make a file for the packs of this run."""
        name = f"{self._stem}-{time.time_ns():x}-{os.getpid():x}.packs"
        self._fresh = False
        return Spool(os.path.join(self._folder, name))

    def save(self, entries: Sequence[Known], packs: list[PackPlace], started: int) -> None:
        """Note what was read, for the next time, where it isn't just what is noted already.

        Args:
            entries: of all files.
            packs: that the entries name.
            started: when the reading began, in ns since the epoch.
        """
        if self._fresh and len(entries) == len(self.known):
            return
        spools = {id(spool): spool.path for spool, _ in packs}
        names = sorted({os.path.basename(path) for path in spools.values()})
        numbers = {name: number for number, name in enumerate(names)}
        content = {
            "version": _VERSION,
            "saved": started,
            "spools": names,
            "packs": [(numbers[os.path.basename(spool.path)], place) for spool, place in packs],
            "files": [_row(known) for known in entries],
        }
        try:
            with atomic_write(os.path.join(self._folder, f"{self._stem}.index"), "wb") as file:
                file.write(pickle.dumps(content, pickle.HIGHEST_PROTOCOL))
        except OSError as error:
            raise TrainingError(describe_write_error(self._folder, error, "the cache")) from error
        self._clear(set(names))

    def _load(self) -> None:
        with open(os.path.join(self._folder, f"{self._stem}.index"), "rb") as file:
            content: Mapping[str, Any] = plain_loads(file.read())
        if content["version"] != _VERSION or len(content["spools"]) > _MOST_SPOOLS:
            return
        paths = [os.path.join(self._folder, name) for name in content["spools"]]
        if not all(os.path.isfile(path) for path in paths):
            return
        spools = [Spool(path) for path in paths]
        packs = [(spools[number], place) for number, place in content["packs"]]
        known = {row[0]: row for row in content["files"]}
        if all(place[0] + place[1] <= spool.end for spool, place in packs):
            self.packs, self.known = packs, known
            self._trusted = content["saved"] - _SAME_MOMENT

    def _clear(self, used: set[str]) -> None:
        """Remove packs of earlier runs that nothing names any more."""
        for name in os.listdir(self._folder):
            if name.startswith(self._stem) and name.endswith(".packs") and name not in used:
                with suppress(OSError):
                    os.unlink(os.path.join(self._folder, name))


def _row(known: Known) -> tuple[Any, ...]:
    facts = known.facts
    notes = None if facts.notes is None else (facts.notes.read, facts.notes.findings)
    return (
        *(facts.path, facts.name, facts.labels, notes, facts.stamp, facts.digest, facts.image_path),
        *(facts.beside, facts.looked_at, known.pack, known.place),
    )


def _entry(row: tuple[Any, ...]) -> Known:
    facts = FileFacts(*row[:9])
    if row[3] is not None:
        facts.notes = Notes(*row[3])
    return Known(facts, row[9], row[10])
