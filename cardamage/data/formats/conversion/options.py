"""What a conversion is to make of its sources, and where it remembers what it read."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ..registry import ReadOptions, WriteOptions

__all__ = ["ConvertOptions", "cache_folder"]


@dataclass(frozen=True)
class ConvertOptions:
    """What to make of the sources.

    Attributes:
        source_format: one of the registry's formats; None recognizes it.
        split: shares of train and val, or train, val and test; nothing keeps the source's parts.
        seed: of the division.
        rename: rules ``old=new`` for classes.
        merge: whether several sources become one dataset.
        parts_by_folder: whether a Labelme folder with nothing but ``train``, ``val``, ``valid``, ``test`` and
            ``all`` in it has these parts, as our own writer makes them.
        classes: their order after renaming; None keeps the source's. Without renaming they also name the
            numbers of sources that have no list of classes.
        into_used: whether the target may be a folder in use, and nothing but the dataset is written to it.
        read: see :class:`ReadOptions`.
        write: see :class:`WriteOptions`; pictures are copied unless it says otherwise.
    """

    source_format: str | None = None
    split: Sequence[float] = ()
    seed: int = 0
    rename: Sequence[str] = ()
    merge: bool = False
    parts_by_folder: bool = True
    classes: Sequence[str] | None = None
    into_used: bool = False
    read: ReadOptions = field(default_factory=ReadOptions)
    write: WriteOptions = field(default_factory=lambda: WriteOptions(pictures="copy"))


def cache_folder() -> Path | None:
    """Return the user's folder for what was read before; None where it can't be written."""
    root = os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser()
    folder = Path(root) / "cardamage" / "annotations"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return None
    return folder if os.access(folder, os.W_OK) else None
