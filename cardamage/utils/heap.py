"""Memory that a process gives back and needs again at once, and Python's search for memory to free."""

from __future__ import annotations

import ctypes
import functools
import gc
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["available_memory", "frozen_objects", "keep_freed_memory", "without_collection"]

# glibc's names for what mallopt sets (malloc.h).
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
_CONTROL_GROUP = "/sys/fs/cgroup"
_KEPT_BYTES = 128 << 20
# Older glibc refuses more than 32 MiB.
_LARGEST_BLOCKS = (64 << 20, 32 << 20)
_USERS_OWN = ("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_", "MALLOC_TOP_PAD_", "MALLOC_MMAP_MAX_")


@functools.cache
def keep_freed_memory() -> bool:
    """Let this process keep up to 128 MiB that it has freed, where the C library is glibc.

    glibc returns blocks of megabytes to the system as soon as they are free. Who decodes one picture after
    the other gets them back page by page, each page cleared by the system: nearly half of the time of reading
    a photo. Forked processes inherit the setting. What the user set by glibc's environment variables stays.

    Returns:
        Whether the setting was made.
    """
    if any(name in os.environ for name in _USERS_OWN) or "glibc.malloc" in os.environ.get(
        "GLIBC_TUNABLES", ""
    ):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return False
    blocks = any(mallopt(_MMAP_THRESHOLD, size) for size in _LARGEST_BLOCKS)
    return bool(blocks and mallopt(_TRIM_THRESHOLD, _KEPT_BYTES))


def available_memory() -> int | None:
    """Return how many bytes this process can still take; None where the system does not tell.

    That is what Linux says is available, or what is left of the limit of the process's control group.
    """
    found = []
    try:
        with open("/proc/meminfo", encoding="ascii") as file:
            lines = dict(line.split(":", 1) for line in file)
        found.append(int(lines["MemAvailable"].split()[0]) << 10)
    except (OSError, KeyError, ValueError):
        pass
    try:
        limit, used = (Path(_CONTROL_GROUP, name).read_text() for name in ("memory.max", "memory.current"))
        found.append(max(int(limit) - int(used), 0))
    except (OSError, ValueError):  # ValueError: "max", that is no limit
        pass
    return min(found, default=None)


@contextmanager
def without_collection() -> Iterator[None]:
    """Keep Python from looking for rings of objects that nothing else holds, while many objects are made.

    Each search goes through all objects there are, which in a process with torch are half a million. For work
    that makes no rings, such as reading JSON.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


@contextmanager
def frozen_objects() -> Iterator[None]:
    """Leave the objects that exist now out of Python's searches for rings, which go on for new ones.

    For long work in which rings may come up. Also a decorator.
    """
    first = gc.get_freeze_count() == 0
    gc.freeze()
    try:
        yield
    finally:
        if first:
            gc.unfreeze()
