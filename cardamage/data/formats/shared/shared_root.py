"""The folder that pictures share, for formats that name them from one place."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from ..dataset import AnnotatedImage

__all__ = ["name_below", "shared_root"]


def name_below(path: str, folder: str | os.PathLike[str]) -> str:
    """Return a path relative to a folder, with forward slashes."""
    start = f"{os.fspath(folder)}{os.sep}"
    # Nearly all paths are plain ones, and taking them apart costs more than reading the annotations.
    if path.startswith(start) and os.sep == "/" and "/." not in path and "//" not in path:
        return path[len(start) :]
    return Path(os.path.relpath(path, folder)).as_posix()


def shared_root(images: Iterable[AnnotatedImage]) -> Path | None:
    """Find the folder from which pictures that stay where they are can be named.

    Args:
        images: they are gone through once.

    Returns:
        The folder from which their names are, where it is the same for all; else one that holds them all.
        None where a picture is embedded in a JSON, or they lie on several drives.
    """
    root: str | None = None
    for image in images:
        if image.embedded:
            return None
        source = os.path.abspath(image.source)
        end = os.sep + image.name.replace("/", os.sep)
        own = source[: -len(end)] if source.endswith(end) else os.path.dirname(source)
        if root is None:
            root = own
        elif root != own:
            try:
                root = os.path.commonpath([root or os.sep, own or os.sep])
            except ValueError:
                return None
    return None if root is None else Path(root or os.sep)
