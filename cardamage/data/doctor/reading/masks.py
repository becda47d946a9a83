"""Folders of mask pictures, by their reader: what it refuses is one finding."""

from __future__ import annotations

from pathlib import Path

from ....errors import CardamageError, DataError
from ...formats.registry import ReadOptions, read_annotations, recognize
from ..model import Part, Picture, Shape
from .values import ring_of

__all__ = ["is_masks", "read_masks"]


def is_masks(path: Path) -> bool:
    """Whether a folder holds masks."""
    try:
        return recognize(path) == "masks"
    except (DataError, ImportError, AttributeError):
        return False


def read_masks(path: Path, image_root: Path | None = None) -> Part:
    """Read a folder of masks."""
    part = Part(str(path), "masks")
    try:
        dataset = read_annotations(path, "masks", ReadOptions(image_root=image_root))
        images = list(dataset.images)
    except CardamageError as error:
        part.note("D001", path, text=str(error))
        return part
    part.classes = list(dataset.classes)
    for image in images:
        picture = Picture(image.source, None, image.name, image.source, (image.height, image.width))
        picture.split = image.split
        for index, raw in enumerate(image.annotations):
            shape = Shape(image.source, index, raw.label, size=(image.height, image.width))
            shape.rle, shape.kind = raw.rle, "mask" if raw.rle is not None else "outline"
            rings = [ring_of(ring) for ring in raw.polygons or []]
            shape.rings = [ring for ring in rings if ring is not None]
            picture.shapes.append(shape)
        part.pictures.append(picture)
    return part
