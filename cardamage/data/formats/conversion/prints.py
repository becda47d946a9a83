"""Prints of photos, which take a look at all of their pixels, kept for the next time."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Sequence
from contextlib import suppress

from tqdm import tqdm

from ....errors import TrainingError
from ...images.hashes import PhotoPrint, photo_prints
from ..shared import keeping
from ..shared.keeping import Stamp, load_kept, save_kept, stamp_of

__all__ = ["kept_prints"]

# Changes with what prints are.
_VERSION = 1
# Pictures that are looked at between two steps of the bar.
_TOGETHER = 256

# Of each file its stamp, and digest and hash of its picture.
_Kept = dict[str, tuple[Stamp, str, int | None]]


def kept_prints(
    sources: Sequence[str], threads: int = 0, cache: str | os.PathLike[str] | None = None
) -> list[PhotoPrint | None]:
    """Give the prints of pictures; see :func:`~cardamage.data.images.hashes.photo_prints`.

    Args:
        sources: picture files, or Labelme JSONs with one embedded.
        threads: how many are read at once; 0 is one for each core.
        cache: folder that remembers the prints of files for as long as they stay the same; None for none.
    """
    if cache is None:
        return _made(sources, threads)
    started = time.time_ns()
    paths = [os.path.abspath(source) for source in sources]
    path = os.path.join(cache, f"prints-{_key(paths)}.index")
    known = _known(path)
    stamps = {name: stamp_of(name) for name in paths}
    new = [name for name, stamp in stamps.items() if name not in known or known[name][0] != stamp]
    for name, made in zip(new, _made(new, threads), strict=True):
        known.pop(name, None)
        stamp = stamps[name]
        if made is not None and stamp is not None:
            known[name] = (stamp, made.digest, made.hash)
    if new:
        kept = {name: known[name] for name in stamps if name in known}
        with suppress(TrainingError):  # which would be told of the annotations
            save_kept(path, {"version": _VERSION, "saved": started, "prints": kept})
    return [PhotoPrint(*known[name][1:]) if name in known else None for name in paths]


def _made(sources: Sequence[str], threads: int) -> list[PhotoPrint | None]:
    made: list[PhotoPrint | None] = []
    with tqdm(total=len(sources), desc="compare", unit="photo", leave=False, disable=None, delay=1) as bar:
        for start in range(0, len(sources), _TOGETHER):
            made += photo_prints(sources[start : start + _TOGETHER], threads)
            bar.update(len(made) - start)
    return made


def _key(paths: Sequence[str]) -> str:
    """A set of photos is told by the folders it is in: its photos come and go."""
    folders = "\0".join(sorted({os.path.dirname(path) for path in paths}))
    return hashlib.sha256(folders.encode("utf-8", "surrogateescape")).hexdigest()[:16]


def _known(path: str) -> _Kept:
    """What was kept of files that had been left alone for a while when they were looked at."""
    content = load_kept(path)
    if not isinstance(content, dict) or content.get("version") != _VERSION:
        return {}
    trusted = content["saved"] - keeping.SAME_MOMENT
    kept: _Kept = content["prints"]
    return {name: known for name, known in kept.items() if max(known[0][1], known[0][2]) <= trusted}
