"""The photos' annotations as Labelme writes them, to convert back."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from cardamage.benchmark.photo_files import PhotoFiles

__all__ = ["write_labelme"]


def write_labelme(files: PhotoFiles, copies: int, folder: Path) -> int:
    """Write a JSON file for each photo, beside a link to it.

    Args:
        files: the photos.
        copies: how often each.
        folder: where to; made.

    Returns:
        How many files there are.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(copies):
        for record in files.records:
            source = Path(record["file_name"])
            target = folder / f"{source.stem}_{number}{source.suffix}"
            os.link(source, target)
            content = _content(record, files.classes, target.name)
            target.with_suffix(".json").write_text(json.dumps(content), encoding="utf-8")
    return copies * len(files.records)


def _content(record: dict[str, Any], classes: list[str], picture: str) -> dict[str, Any]:
    shapes = [
        {
            "label": classes[annotation["category_id"]],
            "points": [list(point) for point in zip(polygon[0::2], polygon[1::2], strict=True)],
            "group_id": None,
            "shape_type": "polygon",
            "flags": {},
        }
        for annotation in record["annotations"]
        for polygon in annotation["segmentation"]
    ]
    return {
        "version": "5.5.0",
        "flags": {},
        "shapes": shapes,
        "imagePath": picture,
        "imageData": None,
        "imageHeight": record["height"],
        "imageWidth": record["width"],
    }
