"""Labelme files and folders of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from PIL import Image

SIZE = (40, 60)
SQUARE = [[10, 10], [20, 10], [20, 20], [10, 20]]


def shape(points: Any = SQUARE, kind: str = "polygon", label: str = "dent", **more: Any) -> dict[str, Any]:
    """A shape as Labelme writes it."""
    return {"label": label, "points": points, "group_id": None, "shape_type": kind, "flags": {}, **more}


def write_labelme(path: Path, *shapes: dict[str, Any], **changes: Any) -> Path:
    """Write a file of a picture beside it, called as the file is, unless the changes say otherwise."""
    content = {
        "version": "5.5.0",
        "shapes": list(shapes),
        "imagePath": f"{path.stem}.jpg",
        "imageData": None,
        "imageHeight": SIZE[0],
        "imageWidth": SIZE[1],
        **changes,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


def write_labelled_photo(path: Path, *shapes: dict[str, Any], red: int = 0, **changes: Any) -> Path:
    """Write a file and its picture, which is of one colour."""
    write_labelme(path, *shapes, **changes)
    Image.new("RGB", SIZE[::-1], (red, 0, 0)).save(path.with_suffix(".jpg"))
    return path
