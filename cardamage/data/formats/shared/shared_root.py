"""The folder that pictures share, for formats that name them from one place."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from ..dataset import AnnotatedImage

__all__ = ["NamesBelow", "common_folder", "name_below", "shared_root"]


class NamesBelow:
    """Names files relative to a folder, with forward slashes.

    Args:
        folder: the folder.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self._folder = folder
        self._start = f"{os.fspath(folder)}{os.sep}"
        self._here = ""

    def __call__(self, path: str) -> str:
        """Return the path from the folder."""
        if os.sep == "/" and not path.startswith("/"):
            self._here = self._here or f"{os.getcwd()}/"
            path = self._here + path
        # Nearly all paths are plain ones, and taking them apart costs more than reading the annotations.
        if path.startswith(self._start) and os.sep == "/" and "/." not in path and "//" not in path:
            return path[len(self._start) :]
        return Path(os.path.relpath(path, self._folder)).as_posix()


def name_below(path: str, folder: str | os.PathLike[str]) -> str:
    """Return a path relative to a folder, with forward slashes."""
    return NamesBelow(folder)(path)


def shared_root(images: Iterable[AnnotatedImage]) -> Path | None:
    """Find the folder from which pictures that stay where they are can be named.

    Args:
        images: they are gone through once.

    Returns:
        The folder from which their names are, where it is the same for all; else one that holds them all.
        None where a picture is embedded in a JSON, or they lie on several drives.
    """
    places = []
    for image in images:
        if image.embedded:
            return None
        places.append((image.name, image.source))
    return common_folder(places)


def common_folder(places: Iterable[tuple[str, str]]) -> Path | None:
    """Do as :func:`shared_root` for names and files of pictures of which none is embedded."""
    owns: dict[str, None] = {}
    for name, source in places:
        end = os.sep + name.replace("/", os.sep)
        own = (source[: -len(end)] or os.sep) if source.endswith(end) else os.path.dirname(source)
        owns[own] = None
    if not owns:
        return None
    folders = {os.path.abspath(own) for own in owns}
    try:
        return Path(os.path.commonpath(folders) or os.sep)
    except ValueError:
        return None
