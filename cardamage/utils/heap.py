"""Memory that a process gives back and needs again at once."""

from __future__ import annotations

import ctypes
import functools
import os

__all__ = ["keep_freed_memory"]

# glibc's names for what mallopt sets (malloc.h).
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
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
