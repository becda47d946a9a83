"""Folders of mask pictures, by their reader: bad masks are left out, what else it refuses is one finding."""

from __future__ import annotations

from pathlib import Path

from ....errors import CardamageError, DataError
from ...annotations.report import AnnotationReport
from ...formats.dataset import AnnotatedDataset
from ...formats.masks.layout import find_masks
from ...formats.masks.reading import read_masks as read_layout
from ...formats.registry import ReadOptions, read_annotations, recognize
from ...images.reading import image_size
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
        dataset = _dataset(path, image_root, part)
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


def _dataset(path: Path, image_root: Path | None, part: Part) -> AnnotatedDataset:
    try:
        return read_annotations(path, "masks", ReadOptions(image_root=image_root))
    except DataError:
        layout = find_masks(path, image_root, AnnotationReport(str(path)))
        for image in layout.images:
            size = image_size(image.path)
            image.index = [mask for mask in image.index if _fits(mask, size, part)]
            image.instances = [pair for pair in image.instances if _fits(pair[0], size, part)]
        if not part.notes:
            raise
        return read_layout(layout, None, AnnotationReport(str(path)))


def _fits(mask: Path, size: tuple[int, int], part: Part) -> bool:
    """Whether a mask can be read and is of its picture's size; else that is noted."""
    try:
        found = image_size(mask)
    except (DataError, OSError, ValueError) as error:
        part.note("D215", mask, text=str(error))
        return False
    if found != size:
        part.note("D215", mask, text=f"it is {found[1]}x{found[0]} and the picture {size[1]}x{size[0]}")
    return found == size
