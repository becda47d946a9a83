"""Pictures that are not where their annotation says, but in the set under the same name."""

from __future__ import annotations

import os
import unicodedata
from collections import defaultdict
from pathlib import PureWindowsPath
from urllib.parse import unquote

from ..model import Picture, Subject

__all__ = ["find_moved"]


def find_moved(subject: Subject) -> None:
    """Take loose pictures for those that annotations look for elsewhere, and note it (D120).

    Names are compared without folders, upper and lower case, spellings of accents, and the signs of addresses
    (``%20``); then without the suffix. Where several fit as well, none is taken.

    Args:
        subject: all that was read; its pictures and loose pictures are changed.
    """
    by_name: dict[str, list[str]] = defaultdict(list)
    for path in subject.loose:
        for key in _keys(path):
            by_name[key].append(path)
    for part in subject.parts:
        for picture in part.pictures if by_name and part.format != "yolo" else ():
            if picture.embedded is not None or not _is_lost(picture):
                continue
            path = _found(picture.name, by_name)
            if not path:
                continue
            part.note("D120", picture.file, picture.index, f"{picture.name} is at {path}")
            where = (picture.file, picture.index)
            part.notes["D115"] = [h for h in part.notes["D115"] if (h.file, h.index) != where]
            picture.source = path
            picture.split = picture.split or subject.loose[path]
            picture.moved = True
    for picture in [picture for picture in subject.pictures if picture.moved]:
        subject.loose.pop(picture.source, None)


def _is_lost(picture: Picture) -> bool:
    if picture.source:
        return not os.path.lexists(picture.source)
    # Also what lies outside; a link is told as one.
    return os.pardir in PureWindowsPath(picture.name).parts


def _found(name: str, by_name: dict[str, list[str]]) -> str:
    parts = _parts(name)
    for key in _keys(name):
        paths = by_name.get(key, [])
        if paths:
            shared = [_shared(parts, _parts(path)) for path in paths]
            best = [path for path, count in zip(paths, shared, strict=True) if count == max(shared)]
            return best[0] if len(best) == 1 else ""
    return ""


def _keys(path: str) -> list[str]:
    """A name to be compared, with its suffix and without."""
    name = _parts(path)[-1] if _parts(path) else ""
    return [name, f"{os.path.splitext(name)[0]}."] if name else []


def _parts(path: str) -> list[str]:
    plain = unicodedata.normalize("NFKC", unquote(path)).casefold()
    return list(PureWindowsPath(plain).parts)


def _shared(one: list[str], other: list[str]) -> int:
    """How many folders and the name agree, from the end."""
    count = 0
    while count < min(len(one), len(other)) and one[-1 - count] == other[-1 - count]:
        count += 1
    return count
