"""A folder of photos that nothing is marked in."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from ...errors import DataError
from ..formats.pictures.sizes import picture_sizes
from ..formats.shared.below import below
from ..images.signs import PICTURE_SUFFIXES

__all__ = ["load_photos"]


def load_photos(folder: str | os.PathLike[str]) -> list[dict[str, Any]]:
    """Load all photos of a folder and those below it as pictures without objects.

    Args:
        folder: hidden files and folders in it are left out; what else lies beside the photos isn't read.

    Returns:
        Dataset dicts in the order of the names, with ``image_id`` from 1 and no annotations.

    Raises:
        DataError: where there is no such folder, no photo in it, or some can't be read.
    """
    root = Path(folder)
    if not root.is_dir():
        raise DataError(f"The folder of photos {root} does not exist.")
    paths = list(below(root, PICTURE_SUFFIXES))
    if not paths:
        endings = ", ".join(sorted(PICTURE_SUFFIXES))
        raise DataError(f"There is no photo in {root} or below it; looked for are {endings}.")
    sizes = picture_sizes(paths)
    return [
        {"file_name": str(path), "height": height, "width": width, "image_id": number, "annotations": []}
        for number, (path, (height, width)) in enumerate(zip(paths, sizes, strict=True), start=1)
    ]
