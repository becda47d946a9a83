"""One pass over a dataset before it is written: every annotation checked, every object counted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from tqdm import tqdm

from ...annotations.checks import RawAnnotation
from ...annotations.report import AnnotationReport
from ...images.checks import check_images
from ..dataset import AnnotatedDataset, AnnotatedImage, Images, check_images_annotations
from ..shared.spooling import spooled

__all__ = ["Survey", "checked_dataset", "part_rank", "part_table"]


@dataclass
class Survey:
    """What is known about each image after the pass, in the images' order.

    Attributes:
        names: of the images.
        sources: files that hold the pixels.
        sizes: height and width.
        objects: how many of each class, by its place in the list of classes.
        splits: the parts that the source names.
        embedded: how many pictures are in Labelme files only.
    """

    names: list[str] = field(default_factory=list)
    sources: list[str] = field(default_factory=list)
    sizes: list[tuple[int, int]] = field(default_factory=list)
    objects: list[dict[int, int]] = field(default_factory=list)
    splits: list[str] = field(default_factory=list)
    embedded: int = 0
    # Sizes and counts, each kept once: most images share them.
    shared: dict[Any, Any] = field(default_factory=dict)

    def check_pictures(self) -> None:
        """Make sure that every picture is there, whole and of its size.

        Raises:
            DataError: as :func:`~cardamage.data.images.checks.check_images`.
        """
        records: list[dict[str, Any]] = [
            {"file_name": source, "height": height, "width": width}
            for source, (height, width) in zip(self.sources, self.sizes, strict=True)
        ]
        check_images(records)


def checked_dataset(dataset: AnnotatedDataset, report: AnnotationReport) -> tuple[AnnotatedDataset, Survey]:
    """Check all annotations as for a training, and count what is left.

    Args:
        dataset: as it was read; is not changed.
        report: is told what was dropped, clipped and kept, once.

    Returns:
        The dataset with usable annotations only, and what was counted. Images in a list stay in a list,
        others go to a spool on the disk.

    Raises:
        DataError: for a label that is not among the classes.
    """
    ids = {name: index for index, name in enumerate(dataset.classes)}
    found = Survey()
    passing = (
        _noted(replace(image, annotations=list(_usable(image, checked))), ids, found)
        for image, checked in check_images_annotations(_told(dataset.images), ids, report)
    )
    images: Images = list(passing) if isinstance(dataset.images, list) else spooled(passing)
    return replace(dataset, images=images), found


def _told(images: Images) -> Iterable[AnnotatedImage]:
    return tqdm(images, "checking", len(images), unit=" images", leave=False, disable=None, delay=1)


def _noted(image: AnnotatedImage, ids: dict[str, int], found: Survey) -> AnnotatedImage:
    found.names.append(image.name)
    found.sources.append(image.source)
    size = (image.height, image.width)
    found.sizes.append(found.shared.setdefault(size, size))
    counts = Counter(ids[raw.label] for raw in image.annotations)
    found.objects.append(found.shared.setdefault(frozenset(counts.items()), dict(counts)))
    found.splits.append(image.split)
    found.embedded += image.embedded
    return image


def _usable(image: AnnotatedImage, checked: Sequence[dict[str, Any] | None]) -> Iterator[RawAnnotation]:
    for raw, found in zip(image.annotations, checked, strict=True):
        if found is not None:
            outline, box = found.get("segmentation"), None if raw.bbox is None else found["bbox"]
            if isinstance(outline, list):
                points = [np.array(polygon).reshape(-1, 2) for polygon in outline]
                yield replace(raw, polygons=points, rle=None, bbox=box)
            else:
                yield replace(raw, polygons=None, rle=outline, bbox=box)


def part_rank(part: str) -> int:
    """Sort key by which train comes first and test last."""
    return {"train": 0, "test": 2}.get(part, 1)


def part_table(
    classes: Sequence[str], found: Survey, parts: Sequence[str]
) -> tuple[dict[str, int], dict[str, Counter[str]]]:
    """Count images and objects of each part.

    Args:
        classes: names.
        found: see :class:`Survey`.
        parts: the part of each image.

    Returns:
        Images by part, and objects by part and class; train comes first, test last.
    """
    met = dict.fromkeys(parts)
    images = Counter(dict.fromkeys(sorted(met, key=part_rank), 0))
    images.update(parts)
    objects: dict[str, Counter[str]] = {part: Counter() for part in images}
    for part, counts in zip(parts, found.objects, strict=True):
        objects[part].update({classes[index]: count for index, count in counts.items()})
    return dict(images), objects
