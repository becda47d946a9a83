"""One pass over a dataset before it is written: every annotation checked, every object counted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from ....utils.heap import without_collection
from ...annotations.report import AnnotationReport
from ...images.checks import check_images
from ..dataset import (
    AnnotatedDataset,
    AnnotatedImage,
    ImageHead,
    Images,
    check_images_annotations,
    class_id,
)
from ..shared.spooling import spooled
from .preparing import usable
from .progress import ToldImages

__all__ = ["Survey", "checked_dataset", "part_rank", "part_table"]


@dataclass
class Survey:
    """What is known about each image after the pass, in the images' order.

    Attributes:
        names: of the images.
        sources: files that hold the pixels.
        sizes: height and width.
        objects: how many of each class, by its place in the list of classes; regions of uncounted objects
            (crowds) are none.
        crowded: classes that have such regions.
        splits: the parts that the source names.
        embedded: how many pictures are in Labelme files only.
        unseen: places of the images whose pictures were not found good yet.
    """

    names: list[str] = field(default_factory=list)
    sources: list[str] = field(default_factory=list)
    sizes: list[tuple[int, int]] = field(default_factory=list)
    objects: list[dict[int, int]] = field(default_factory=list)
    splits: list[str] = field(default_factory=list)
    embedded: int = 0
    unseen: list[int] = field(default_factory=list)
    crowded: set[int] = field(default_factory=set)
    # Sizes and counts, each kept once: most images share them.
    shared: dict[Any, Any] = field(default_factory=dict)

    def check_pictures(self) -> None:
        """Make sure that every picture is there, whole and of its size; those found so are not looked at.

        Raises:
            DataError: as :func:`~cardamage.data.images.checks.check_images`.
        """
        if not self.unseen:
            return
        records: list[dict[str, Any]] = [
            {"file_name": self.sources[i], "height": self.sizes[i][0], "width": self.sizes[i][1]}
            for i in self.unseen
        ]
        check_images(records, total=len(set(self.sources)))


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
    if dataset.heads is not None:
        _tell_unknown_label(dataset, ids)
        with without_collection():
            return replace(dataset, heads=None), _of_heads(dataset.heads, ids)
    found = Survey()
    passing = (
        _noted(replace(image, annotations=usable(image.annotations, checked)), ids, found)
        for image, checked in check_images_annotations(ToldImages(dataset.images, "check"), ids, report)
    )
    images: Images = list(passing) if isinstance(dataset.images, list) else spooled(passing)
    return replace(dataset, images=images), found


def _tell_unknown_label(dataset: AnnotatedDataset, ids: dict[str, int]) -> None:
    held = {head.counts for head in dataset.heads or ()}
    if any(label not in ids for counts in held for label, _ in counts):
        for image in dataset.images:
            for raw in image.annotations:
                class_id(raw, ids)


def _of_heads(heads: Sequence[ImageHead], ids: dict[str, int]) -> Survey:
    names, sources, sizes, embedded, splits, counts, good = zip(*heads, strict=True) if heads else [()] * 7
    known = {one: {ids[label]: count for label, count in one} for one in set(counts)}
    return Survey(
        *(list(names), list(sources), list(sizes), [known[one] for one in counts], list(splits)),
        embedded=sum(embedded),
        unseen=[i for i, is_good in enumerate(good) if not is_good],
    )


def _noted(image: AnnotatedImage, ids: dict[str, int], found: Survey) -> AnnotatedImage:
    found.unseen.append(len(found.names))
    found.names.append(image.name)
    found.sources.append(image.source)
    size = (image.height, image.width)
    found.sizes.append(found.shared.setdefault(size, size))
    counts = Counter(ids[raw.label] for raw in image.annotations if not raw.iscrowd)
    found.crowded.update(ids[raw.label] for raw in image.annotations if raw.iscrowd)
    found.objects.append(found.shared.setdefault(frozenset(counts.items()), dict(counts)))
    found.splits.append(image.split)
    found.embedded += image.embedded
    return image


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
    # Most images share what they hold.
    held = {id(counts): counts for counts in found.objects}
    for (part, number), times in Counter(zip(parts, map(id, found.objects), strict=True)).items():
        for index, count in held[number].items():
            objects[part][classes[index]] += count * times
    return dict(images), objects
