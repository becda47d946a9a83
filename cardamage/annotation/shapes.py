"""Detections as Labelme's shapes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

__all__ = ["REVIEWED", "labelme_content", "shapes_of"]

REVIEWED = "reviewed"
"""A box to tick in Labelme's list of flags: a file that is right as it is becomes a person's by that."""

# What Labelme compares its own major version with; all of 4 to 7 read what is written here.
_VERSION = "5.5.0"


def shapes_of(
    found: Sequence[Mapping[str, Any]], polygons: Sequence[Sequence[np.ndarray]]
) -> list[dict[str, Any]]:
    """Turn detections into shapes, best score first; the parts of one object share a ``group_id``.

    Args:
        found: records with ``class`` and ``score``.
        polygons: the outlines of each, point arrays (points, 2) in pixels.
    """
    order = sorted(range(len(found)), key=lambda index: -found[index]["score"])
    shapes: list[dict[str, Any]] = []
    group = 0
    for index in order:
        several = len(polygons[index]) > 1
        group += several
        for points in polygons[index]:
            shapes.append(
                {
                    "label": found[index]["class"],
                    "points": points.tolist(),
                    "group_id": group if several else None,
                    "description": f"{found[index]['score']:.2f} cardamage",
                    "shape_type": "polygon",
                    "flags": {},
                    "mask": None,
                }
            )
    return shapes


def labelme_content(
    shapes: Sequence[Mapping[str, Any]], image_path: str, size: tuple[int, int]
) -> dict[str, Any]:
    """Return a Labelme file without embedded picture.

    Args:
        shapes: as Labelme stores them.
        image_path: of the picture, from the file's folder, with forward slashes.
        size: height and width of the upright picture.
    """
    return {
        "version": _VERSION,
        "flags": {REVIEWED: False},
        "shapes": list(shapes),
        "imagePath": image_path,
        "imageData": None,
        "imageHeight": size[0],
        "imageWidth": size[1],
    }
