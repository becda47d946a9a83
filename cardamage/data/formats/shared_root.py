"""The folder that pictures share, for formats that name them from one place."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from .dataset import AnnotatedImage

__all__ = ["shared_root"]


def shared_root(images: Iterable[AnnotatedImage]) -> Path | None:
    """Find the folder from which pictures that stay where they are can be named.

    Args:
        images: they are gone through once.

    Returns:
        The folder from which their names are, where it is the same for all; else the deepest one that holds
        them all. None where a picture is embedded in a JSON, or they lie on several drives.
    """
    named: set[str] = set()
    common: str | None = None
    for image in images:
        if image.embedded:
            return None
        source = os.path.abspath(image.source)
        end = os.path.join("", *image.name.split("/"))
        named.add(source.removesuffix(end) if source.endswith(os.sep + end) else "")
        try:
            folder = os.path.dirname(source)
            common = folder if common is None else os.path.commonpath([common, folder])
        except ValueError:
            return None
    if len(named) == 1 and "" not in named:
        return Path(named.pop())
    return None if common is None else Path(common)
