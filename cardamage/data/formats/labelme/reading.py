"""Labelme folders as annotations in memory; see :mod:`cardamage.data.formats.labelme` for what is understood.

Files are read some hundred at a time, by a process for each core where there are many, and go to a spool on
the disk: memory does not grow with their number.
"""

from __future__ import annotations

import logging
import os
import time
from array import array
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from tqdm import tqdm

from ....errors import DataError
from ....utils.heap import without_collection
from ...annotations.report import AnnotationReport
from ..dataset import AnnotatedDataset, AnnotatedImage, ImageHead, Images
from ..registry import ReadOptions
from ..shared.spool import Spool, SpooledImages
from .cache import LabelmeCache, PackPlace
from .file import FileFacts, LabelmeReader
from .folder import Listings, json_files
from .marks import reviewed_files
from .objects import IGNORED_LABEL
from .pool import FEW, FILES_IN_BLOCK, blocks

__all__ = ["read_labelme"]

logger = logging.getLogger(__name__)


def read_labelme(
    folder: str | os.PathLike[str], options: ReadOptions, report: AnnotationReport
) -> AnnotatedDataset:
    """Read all Labelme files of a folder and the folders below it, in natural order of their names.

    Args:
        folder: the folder.
        options: all but ``attribute`` count.
        report: is told of shapes that can't be objects, and of pre-labels that are left out.

    Raises:
        DataError: where there is no such folder, no Labelme file in it (that somebody has reviewed, where
            that is asked for), or one that can't be used.
        TrainingError: where the cache can't be written.
    """
    root = str(Path(folder))
    image_root = None if options.image_root is None else os.fspath(options.image_root)
    if image_root is not None and not os.path.isdir(image_root):
        raise DataError(f"The image folder {image_root} of {root} does not exist.")
    listings = Listings()
    cache = None
    with without_collection():
        if options.cache is not None:
            cache = LabelmeCache(options.cache, root, (options.line_width, image_root, options.prepare))
        paths = json_files(root, listings, None if cache is None else cache.known)
    if options.skip_unreviewed and paths:
        paths = reviewed_files(paths, report)
        if not paths:
            raise DataError(
                f"All Labelme files in {root} are pre-labels that nobody has reviewed; "
                "correct them in Labelme first, or leave out --skip-unreviewed."
            )
    reader = LabelmeReader(root, options.line_width, image_root, cache is not None, listings, options.prepare)
    found = _Found(report)
    with without_collection():
        if cache is None and len(paths) <= FEW:
            images: Images = _in_memory(paths, reader, found)
        else:
            images = _streamed(paths, reader, cache, options.workers, found)
    if not found.names:
        raise DataError(
            f"The folder {root} holds no Labelme file (a .json with 'shapes'); annotate its photos first."
        )
    if found.others:
        logger.info("%s: %d JSON files are not Labelme's and are left out.", root, found.others)
    labels = sorted(found.labels - {IGNORED_LABEL, ""})
    classes = labels if options.classes is None else list(options.classes)
    return AnnotatedDataset(
        root, "labelme", classes, images, heads=None if options.prepare is None else found.heads
    )


class _Found:
    """What the files tell together, taken in one after the other.

    Args:
        report: is told what is noted about each.
    """

    def __init__(self, report: AnnotationReport) -> None:
        self.labels: set[str] = set()
        self.names: set[str] = set()
        self.heads: list[ImageHead] = []
        self.others = 0
        self._report = report

    def take(self, facts: FileFacts) -> str | None:
        """Take a file in and return its image's name, made unique; None for what is not Labelme's."""
        if facts.name is None:
            self.others += 1
            return None
        if not self.labels.issuperset(facts.labels):
            self.labels.update(facts.labels)
        if facts.head is not None:
            for _, count in facts.head.counts:
                self._report.read += count
        if facts.notes is not None:
            facts.notes.tell(self._report)
        name = facts.name
        if name in self.names:
            # Two files of one picture: each is named by its own file.
            start, dot, suffix = name.rpartition(".")
            own = os.path.basename(facts.path)[: -len(".json")]
            stem = os.path.join(os.path.dirname(start), own).replace(os.sep, "/")
            name, number = f"{stem}{dot}{suffix}", 2
            while name in self.names:
                name, number = f"{stem}_{number}{dot}{suffix}", number + 1
        self.names.add(name)
        if facts.head is not None:
            self.heads.append(facts.head if name == facts.name else facts.head._replace(name=name))
        return name


def _in_memory(paths: Sequence[str], reader: LabelmeReader, found: _Found) -> list[AnnotatedImage]:
    images = []
    for start in range(0, len(paths), FILES_IN_BLOCK):
        facts, read = reader.read_all(paths[start : start + FILES_IN_BLOCK])
        names = [name for name in map(found.take, facts) if name is not None]
        for image, name in zip(read, names, strict=True):
            image.name = name
            images.append(image)
    return images


def _streamed(
    paths: Sequence[str], reader: LabelmeReader, cache: LabelmeCache | None, workers: int, found: _Found
) -> SpooledImages:
    """Read what the cache doesn't know into a spool."""
    started = time.time_ns()
    spool: Spool | None = None
    packs: list[PackPlace] = [] if cache is None else list(cache.packs)
    where = array("l")
    names: dict[int, str] = {}
    with tqdm(total=len(paths), desc="read", unit="file", disable=None) as bar:
        for block in blocks(paths, reader, cache, workers):
            if block.packed is not None:
                if spool is None:
                    spool = Spool() if cache is None else cache.new_spool()
                packs.append((spool, spool.append(block.packed)))
            for facts in block.entries:
                if facts.pack < 0 <= facts.place:
                    facts.pack = len(packs) - 1
                name = found.take(facts)
                if name is not None:
                    if name != facts.name:
                        names[len(where) // 2] = name
                    where.extend((facts.pack, facts.place))
            if cache is not None:
                cache.note(block.entries)
            bar.update(len(block.entries))
    if spool is not None:
        spool.finish()
    if cache is not None:
        cache.save(packs, started)
    return SpooledImages(packs, np.array(where, dtype=np.int64).reshape(-1, 2), names)
