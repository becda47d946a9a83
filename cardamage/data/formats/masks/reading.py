"""Mask PNGs as annotations in memory; see :mod:`cardamage.data.formats.masks` for what is understood."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from ....errors import DataError
from ...annotations.checks import RawAnnotation
from ...annotations.report import AnnotationReport
from ..dataset import AnnotatedDataset, AnnotatedImage
from ..pictures.sizes import picture_sizes
from ..shared.spooling import spooled
from .layout import MaskedImage, MaskLayout, class_tokens
from .names import PixelNames, instance_classes, pixel_names
from .pixels import decode_mask, regions, run_lengths

__all__ = ["read_masks"]

_Reader = Callable[[MaskedImage, tuple[int, int]], Iterator[RawAnnotation]]


def read_masks(
    layout: MaskLayout, classes: Sequence[str] | None, report: AnnotationReport
) -> AnnotatedDataset:
    """Read all masks of a folder.

    Args:
        layout: which there are.
        classes: names in their order, where the folder has no list of them.
        report: is told that index masks don't tell objects apart that touch.

    Returns:
        The images; they are kept in a temporary file.

    Raises:
        DataError: for pictures and masks that can't be used, and values or classes without name.
    """
    sizes = picture_sizes(image.path for image in layout.images)
    read: _Reader
    if layout.kind == "index":
        names = pixel_names(layout, classes)
        known = names.classes
        report.add(
            "kept",
            "each connected region is read as one object; index masks can't tell objects of one class apart "
            "that touch, nor join the parts of one",
            str(layout.root),
        )

        def read(image: MaskedImage, size: tuple[int, int]) -> Iterator[RawAnnotation]:
            return _of_index(image, size, names)
    else:
        known, given = instance_classes(layout, classes)
        labels = dict(zip(class_tokens(known), known, strict=True)) | {name: name for name in known}

        def read(image: MaskedImage, size: tuple[int, int]) -> Iterator[RawAnnotation]:
            return _of_instances(image, size, labels if given else None)

    images = (
        AnnotatedImage(image.name, str(image.path), *size, list(read(image, size)), split=image.split)
        for image, size in zip(layout.images, sizes, strict=True)
    )
    return AnnotatedDataset(str(layout.root), "masks", known, spooled(images))


def _of_index(image: MaskedImage, size: tuple[int, int], names: PixelNames) -> Iterator[RawAnnotation]:
    for path in image.index:
        values = decode_mask(path, size, names.colors)
        found = set(_distinct(values, names.colors)) - names.skipped
        strange = sorted(found - set(names.names))
        if strange:
            kind = "colours" if names.colors else "values"
            shown = ", ".join(_color(v) if names.colors else str(v) for v in strange[:5])
            raise DataError(
                f"The mask {path} has {kind} without name ({shown}); name them, or make them background."
            )
        for number, (value, rle) in enumerate(regions(values, sorted(found), str(path)), start=1):
            yield RawAnnotation(f"{path}, region {number}", rle=rle, label=names.names[value])


def _distinct(values: np.ndarray, colors: bool) -> list[int]:
    if colors:
        return np.unique(values).tolist()
    return np.flatnonzero(np.bincount(values.reshape(-1).astype(np.uint16))).tolist()


def _color(value: int) -> str:
    return f"{value >> 16},{value >> 8 & 255},{value & 255}"


def _of_instances(
    image: MaskedImage, size: tuple[int, int], labels: dict[str, str] | None
) -> Iterator[RawAnnotation]:
    for path, token in image.instances:
        if labels is not None and token not in labels:
            known = ", ".join(list(labels.values())[:20])
            raise DataError(
                f"The mask {path} is of the class {token!r}, which is not among the classes ({known})."
            )
        values = decode_mask(path, size)
        (rle,) = run_lengths((values > 0).astype(np.uint8), 1, str(path))
        yield RawAnnotation(str(path), rle=rle, label=token if labels is None else labels[token])
