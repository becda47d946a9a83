"""Images put onto the disk as they are read."""

from __future__ import annotations

import itertools
from collections.abc import Iterable

import numpy as np

from ..dataset import AnnotatedImage
from .packing import pack
from .spool import Place, Spool, SpooledImages

__all__ = ["spooled"]

_IN_A_PACK = 200


def spooled(images: Iterable[AnnotatedImage]) -> SpooledImages:
    """Put images into a temporary file as they come.

    Args:
        images: are gone through once; their ``extra`` may hold what JSON can hold.

    Returns:
        The same images, as often as they are wanted; the file goes away with them.
    """
    spool = Spool()
    packs: list[tuple[Spool, Place]] = []
    where: list[tuple[int, int]] = []
    coming = iter(images)
    while some := list(itertools.islice(coming, _IN_A_PACK)):
        where += [(len(packs), place) for place in range(len(some))]
        packs.append((spool, spool.append(pack(some))))
    spool.finish()
    return SpooledImages(packs, np.array(where, dtype=np.int64).reshape(-1, 2))
