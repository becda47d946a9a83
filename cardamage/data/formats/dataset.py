"""Annotations of any format in memory: what readers give and writers take."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from ...errors import DataError
from ...utils.suggest import did_you_mean
from ..annotations.bulk_checks import check_annotations
from ..annotations.checks import RawAnnotation
from ..annotations.report import AnnotationReport, Notes

__all__ = [
    "AnnotatedDataset",
    "AnnotatedImage",
    "ImageHead",
    "Images",
    "Prepare",
    "Prepared",
    "check_images_annotations",
    "class_id",
    "to_dicts",
]

# Images whose annotations are checked together.
_TOGETHER = 256


@dataclass
class AnnotatedImage:
    """One picture and what was marked in it.

    Attributes:
        name: its path below the dataset's folder, with forward slashes; no two pictures share one.
        source: the file that holds the pixels: the picture, or the Labelme JSON that embeds it.
        height: in pixels, upright.
        width: in pixels, upright.
        annotations: as the file gives them, before any check.
        embedded: whether `source` is a Labelme JSON.
        split: the part of the dataset it belongs to, where the format says so; else empty.
        extra: further fields of the format, by their own names.
    """

    name: str
    source: str
    height: int
    width: int
    annotations: Sequence[RawAnnotation]
    embedded: bool = False
    split: str = ""
    extra: dict[str, Any] = field(default_factory=dict)


class ImageHead(NamedTuple):
    """What is known of a prepared image without looking at its annotations again.

    Attributes:
        name: as of the image.
        source: as of the image.
        size: its height and width.
        embedded: as of the image.
        split: as of the image.
        counts: labels, each with the number of its objects.
        good: whether its picture was looked at, and is there, whole and of its size.
    """

    name: str
    source: str
    size: tuple[int, int]
    embedded: bool
    split: str
    counts: tuple[tuple[str, int], ...]
    good: bool


class Prepared(NamedTuple):
    """What was made of an image as soon as it was read.

    Attributes:
        annotations: in place of the image's own.
        notes: what a report is told besides the count of these; None for nothing.
        good: see :class:`ImageHead`.
    """

    annotations: Sequence[RawAnnotation]
    notes: Notes | None
    good: bool


# Makes something of images right after they were read, by the process that read them. Given are the images,
# and for each the beginning of its embedded picture in base64, or None. Its ``repr`` says all that makes a
# difference for what it makes, as that is kept by caches.
Prepare = Callable[[Sequence[AnnotatedImage], Sequence[bytes | None]], list[Prepared]]


class Images(Protocol):
    """A sized collection that can be gone through any number of times; large ones stay on the disk."""

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[AnnotatedImage]: ...


@dataclass
class AnnotatedDataset:
    """Pictures, annotations and class names.

    Attributes:
        source: what it was read from, for messages.
        format: which format that is.
        classes: names, in the order of the ids that a target gives them.
        images: the pictures.
        extra: fields of the dataset as a whole (COCO's info and licenses, ...), by their own names.
        heads: of the images in their order, where these were prepared as they were read; else None.
        picture_root: a folder from which all pictures can be named, where that is known already.
    """

    source: str
    format: str
    classes: list[str]
    images: Images
    extra: dict[str, Any] = field(default_factory=dict)
    heads: Sequence[ImageHead] | None = None
    picture_root: Path | None = None


def to_dicts(
    dataset: AnnotatedDataset,
    classes: Sequence[str] | None = None,
    report: AnnotationReport | None = None,
    extra_keys: Sequence[str] = (),
) -> tuple[list[dict[str, Any]], list[str]]:
    """Check annotations and give them as Detectron2's dataset dicts.

    Args:
        dataset: what was read.
        classes: their order; by default the dataset's.
        report: is told what was found; by default it is logged.
        extra_keys: further keys of annotations to carry over.

    Returns:
        Dataset dicts, with ``image_id`` from 1 where the format has none, and the class names.

    Raises:
        DataError: for a label that is not among the classes.
    """
    names = list(dataset.classes if classes is None else classes)
    ids = {name: index for index, name in enumerate(names)}
    findings = report or AnnotationReport(dataset.source)
    dicts = []
    for number, (image, checked) in enumerate(
        check_images_annotations(dataset.images, ids, findings), start=1
    ):
        record: dict[str, Any] = {
            "file_name": image.source,
            "height": image.height,
            "width": image.width,
            "image_id": image.extra.get("id", number),
            "annotations": [
                {
                    **{key: raw.extra[key] for key in extra_keys if key in raw.extra},
                    **found,
                    "category_id": ids[raw.label],
                }
                for raw, found in zip(image.annotations, checked, strict=True)
                if found is not None
            ],
        }
        if image.embedded:
            record["image_bytes_from"] = {"labelme_json": image.source}
        dicts.append(record)
    if report is None:
        findings.log()
    return dicts, names


def class_id(raw: RawAnnotation, ids: Mapping[str, int]) -> int:
    """Return the number of an annotation's class.

    Raises:
        DataError: where its label is not among them.
    """
    if raw.label not in ids:
        hint = did_you_mean(raw.label, ids) or f" ({', '.join(ids)}); correct it, or add the class."
        raise DataError(f"{raw.place}: the label is not among the classes{hint}")
    return ids[raw.label]


def check_images_annotations(
    images: Iterable[AnnotatedImage], ids: Mapping[str, int], report: AnnotationReport
) -> Iterator[tuple[AnnotatedImage, list[dict[str, Any] | None]]]:
    """Check the annotations of images, many at once.

    Args:
        images: may stream.
        ids: the classes' numbers by name.
        report: is told what was found.

    Yields:
        Each image with what :func:`~.annotations.checks.check_annotation` returns for its annotations.

    Raises:
        DataError: for a label that is not among the classes, or a damaged mask.
    """
    waiting = iter(images)
    while together := list(itertools.islice(waiting, _TOGETHER)):
        raws = [raw for image in together for raw in image.annotations]
        for raw in raws:
            class_id(raw, ids)
        sizes = [(image.height, image.width) for image in together for _ in image.annotations]
        checked = iter(check_annotations(raws, sizes, report))
        for image in together:
            yield image, list(itertools.islice(checked, len(image.annotations)))
