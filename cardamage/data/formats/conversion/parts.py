"""The parts of a dataset: those that it has, those that its folders are called, those of a split."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ....errors import DataError
from ..dataset import AnnotatedDataset
from .options import ConvertOptions
from .reshaping import ChangedImages
from .split import photo_groups, split_images
from .survey import Survey

__all__ = ["WHOLE", "divided", "parts_by_folder", "rest_in_a_folder"]

WHOLE = "all"
"""What a part is called where the source has none and none is asked for."""

_FOLDERS = frozenset({"train", "val", "valid", "test", WHOLE})


def parts_by_folder(dataset: AnnotatedDataset, found: Survey) -> AnnotatedDataset:
    """Give images the parts that their folders are called, where there are no other folders and parts."""
    parts = [name.partition("/")[0] if "/" in name else "" for name in found.names]
    if not set(parts) <= _FOLDERS or set(parts) == {WHOLE} or any(found.splits):
        return dataset
    found.splits = parts
    return _with_parts(dataset, parts)


def rest_in_a_folder(dataset: AnnotatedDataset, parts: Sequence[str]) -> AnnotatedDataset:
    """Give what has no part a folder of its own where others have parts.

    A folder of Labelme files is read with those below it, so what has none must not lie above the others.

    Args:
        dataset: is not changed.
        parts: of each image.
    """
    return dataset if len(set(parts)) == 1 else _with_parts(dataset, parts)


def divided(
    dataset: AnnotatedDataset, found: Survey, names: Sequence[str], options: ConvertOptions
) -> tuple[AnnotatedDataset, list[str], list[list[int]]]:
    """Divide a dataset's images.

    Args:
        dataset: is not changed.
        found: what is known about its images.
        names: of the parts; none keeps those that there are.
        options: `split`, `seed` and the number of workers count.

    Returns:
        The dataset with its parts, the part of each image, and the groups that were kept together.

    Raises:
        DataError: where a part would have no image.
    """
    if not names:
        return dataset, [split or WHOLE for split in found.splits], []
    groups = photo_groups(found.names, found.sources, options.read.workers, options.read.cache)
    parts = [""] * len(found.names)
    sides = split_images(found.objects, options.split, options.seed, groups)
    for name, indices in zip(names, sides, strict=True):
        if not indices:
            raise DataError(
                f"The split leaves no image for {name}: there are {len(parts)} images, of which copies and "
                "near-duplicates of one photo stay on one side; add photos, or divide into fewer parts."
            )
        for index in indices:
            parts[index] = name
    # Fields that the source has for parts of its own have no part any more.
    extra = {key: value for key, value in dataset.extra.items() if key != "splits"}
    return replace(_with_parts(dataset, parts), extra=extra), parts, groups


def _with_parts(dataset: AnnotatedDataset, parts: Sequence[str]) -> AnnotatedDataset:
    images = ChangedImages(dataset.images, lambda index, image: replace(image, split=parts[index]))
    return replace(dataset, images=images)
