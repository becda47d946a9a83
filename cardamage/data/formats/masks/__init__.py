"""Folders of photos and mask PNGs, of both kinds.

- *Instance masks*: one PNG for each object, ``masks/<image stem>/<number>_<class>.png`` or
  ``masks/<image stem>_<class>_<number>.png``; every pixel but 0 belongs to it.
- *Index masks*: one PNG for each photo, ``masks/<image stem>.png``, whose pixels are the numbers of classes
  (see :func:`~cardamage.data.formats.masks.names.pixel_names`). Each connected region is an object: which
  objects touch, and which have several parts, such masks don't say.

The photos are in ``images``, or in ``train/images`` and so on, each with its ``masks`` beside. A photo
without mask has no objects.
"""

from __future__ import annotations

from pathlib import Path

from ...annotations.report import AnnotationReport
from ..dataset import AnnotatedDataset
from ..registry import ReadOptions
from .layout import find_masks, has_masks
from .reading import read_masks
from .writing import write

__all__ = ["read", "recognize", "write"]


def recognize(path: Path) -> bool:
    """Tell whether a path is a folder of photos and mask PNGs."""
    try:
        return path.is_dir() and has_masks(path)
    except OSError:
        return False


def read(path: Path, options: ReadOptions, report: AnnotationReport) -> AnnotatedDataset:
    """Read a folder of masks; see :func:`~cardamage.data.formats.registry.read_annotations`.

    Args:
        path: the folder that holds ``images`` and ``masks``.
        options: `classes` names the classes of a folder that has no list of them, from value 1 on;
            `image_root` is the photos' folder, where it is another one.
        report: is told what was found.

    Raises:
        DataError: for a folder, photo or mask that can't be used.
    """
    image_root = None if options.image_root is None else Path(options.image_root)
    layout = find_masks(path, image_root, report)
    return read_masks(layout, options.classes, report)
