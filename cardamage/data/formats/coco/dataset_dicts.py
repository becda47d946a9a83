"""Dataset dicts written as a COCO file that others can read."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ....catalog import dicts_to_coco
from ....utils.files import atomic_write

__all__ = ["write_coco"]


def write_coco(
    path: str | os.PathLike[str],
    dataset_dicts: Sequence[Mapping[str, Any]],
    thing_classes: Sequence[str],
    image_root: str | os.PathLike[str] | None = None,
) -> None:
    """Write a COCO instances file, whole or not at all.

    Category and annotation ids are from 1, areas are those of the masks.

    Args:
        path: the file; its folder is made.
        dataset_dicts: the images.
        thing_classes: class names, by contiguous id.
        image_root: where given, images are named relative to it, with forward slashes.
    """
    ids = {index: index + 1 for index in range(len(thing_classes))}
    coco = dicts_to_coco(dataset_dicts, thing_classes, ids)
    if image_root is not None:
        for image in coco["images"]:
            image["file_name"] = Path(os.path.relpath(image["file_name"], image_root)).as_posix()
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(path) as file:
        json.dump(coco, file)
