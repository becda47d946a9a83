"""Labelme files read in blocks, by several processes where there are many, in the order of the files."""

from __future__ import annotations

import logging
import multiprocessing
import os
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass

import cv2

from ....errors import DataError
from ..shared.packing import Packed, pack
from .cache import LabelmeCache
from .file import FileFacts, LabelmeReader

__all__ = ["FEW", "FILES_IN_BLOCK", "Block", "blocks"]

logger = logging.getLogger(__name__)

# Files that are read, packed and handed over together.
FILES_IN_BLOCK = 256
# So many are read before other processes are started.
FEW = 2048
# Blocks that wait to be taken, for each process.
_AHEAD = 3

Read = tuple[list[FileFacts], Packed]


@dataclass(slots=True)
class Block:
    """Some files in order.

    Attributes:
        entries: of each; those that are in `packed` have no number of a pack yet.
        packed: the images that were read; None where the cache knew all.
    """

    entries: list[FileFacts]
    packed: Packed | None


def blocks(
    paths: Sequence[str], reader: LabelmeReader, cache: LabelmeCache | None, workers: int
) -> Iterator[Block]:
    """Read files, or take them from the cache.

    Args:
        paths: the files.
        reader: reads one.
        cache: what is known already.
        workers: processes; 0 is one for each core.

    Raises:
        DataError: for the first file in order that can't be used.
    """
    processes = workers or _cores()
    waiting: deque[tuple[list[FileFacts | str], Future[Read]]] = deque()
    pool: ProcessPoolExecutor | None = None
    here = 0
    try:
        for start in range(0, len(paths), FILES_IN_BLOCK):
            plan = [_known(path, reader, cache) for path in paths[start : start + FILES_IN_BLOCK]]
            unread = [item for item in plan if isinstance(item, str)]
            if pool is None and here >= FEW and processes > 1:
                pool = _started(processes, reader)
            if pool is None:
                here += len(unread)
                yield _block(plan, read_and_pack(reader, unread))
                continue
            waiting.append((plan, _submitted(pool, unread)))
            if len(waiting) >= processes * _AHEAD:
                yield _taken(*waiting.popleft(), reader)
        while waiting:
            yield _taken(*waiting.popleft(), reader)
    finally:
        if pool is not None:
            pool.shutdown(cancel_futures=True)


def read_and_pack(reader: LabelmeReader, paths: Sequence[str]) -> Read:
    """Read files, and pack the images of those that are Labelme's."""
    facts, images = reader.read_all(paths)
    try:
        return facts, pack(images)
    except RecursionError:
        raise DataError(
            f"A Labelme file between {paths[0]} and {paths[-1]} is nested too deeply to be read."
        ) from None


def _known(path: str, reader: LabelmeReader, cache: LabelmeCache | None) -> FileFacts | str:
    return (cache.find(path, reader.finder) if cache is not None else None) or path


def _block(plan: list[FileFacts | str], read: Read) -> Block:
    facts, packed = read
    entries: list[FileFacts] = []
    new = iter(facts)
    place = 0
    for item in plan:
        if isinstance(item, FileFacts):
            entries.append(item)
            continue
        fact = next(new)
        if fact.name is not None:
            fact.place = place
            place += 1
        entries.append(fact)
    return Block(entries, packed if place else None)


def _submitted(pool: ProcessPoolExecutor, unread: list[str]) -> Future[Read]:
    try:
        return pool.submit(_read_there, unread)
    except BrokenProcessPool as error:
        broken: Future[Read] = Future()
        broken.set_exception(error)
        return broken


def _taken(plan: list[FileFacts | str], future: Future[Read], reader: LabelmeReader) -> Block:
    try:
        return _block(plan, future.result())
    except BrokenProcessPool:
        logger.warning("A process that reads files was stopped from outside; going on in this one alone.")
        return _block(plan, read_and_pack(reader, [item for item in plan if isinstance(item, str)]))


# The reader of a process of the pool.
_readers: list[LabelmeReader] = []


def _started(processes: int, reader: LabelmeReader) -> ProcessPoolExecutor:
    # Not forked: OpenCV's threads would be missing there, and waited for.
    context = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(processes, context, initializer=_begin, initargs=(reader,))


def _begin(reader: LabelmeReader) -> None:
    cv2.setNumThreads(1)
    _readers[:] = [reader]


def _read_there(paths: Sequence[str]) -> Read:
    return read_and_pack(_readers[0], paths)


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
