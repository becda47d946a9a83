"""Writes a drawn scene as Labelme does."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from .damage import Damage
from .geometry import Points

VERSION = "5.4.1"


def to_points(piece: Points, width: int, height: int) -> list[list[float]]:
    """Round an outline to hundredths of a pixel inside the picture, equal neighbours merged."""
    clipped = np.round(np.clip(piece, 0, [width, height]), 2)
    changed = np.any(clipped != np.roll(clipped, 1, axis=0), axis=1)
    return clipped[changed].tolist()


def to_shapes(damages: list[Damage], width: int, height: int) -> list[dict[str, Any]]:
    """Return Labelme shapes; the pieces of one damage share a ``group_id``."""
    shapes: list[dict[str, Any]] = []
    group = 0
    for damage in damages:
        several = len(damage.pieces) > 1
        group += several
        for piece in damage.pieces:
            points = np.stack([piece.min(axis=0), piece.max(axis=0)]) if damage.rectangle else piece
            shapes.append(
                {
                    "label": damage.label,
                    "points": to_points(points, width, height),
                    "group_id": group if several else None,
                    "description": "",
                    "shape_type": "rectangle" if damage.rectangle else "polygon",
                    "flags": {},
                    "mask": None,
                }
            )
    return shapes


def write(path: Path, image_name: str, damages: list[Damage], width: int, height: int) -> None:
    """Write one annotation file, its picture beside it."""
    content: dict[str, Any] = {
        "version": VERSION,
        "flags": {},
        "shapes": to_shapes(damages, width, height),
        "imagePath": image_name,
        "imageData": None,
        "imageHeight": height,
        "imageWidth": width,
    }
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
