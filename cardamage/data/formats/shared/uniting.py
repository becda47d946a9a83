"""Several annotation files of one dataset made one: splits, names from one folder, each picture once."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from ....errors import DataError
from ...annotations.report import AnnotationReport
from ..dataset import AnnotatedDataset, AnnotatedImage
from .listing import folders_in

__all__ = ["own_folders", "read_parts", "splits_of", "unique_images"]

# File names that say nothing about the split.
_PLAIN = frozenset(
    "all annotation annotations coco default instances labels result via_project via_region_data".split()
)
_SPLIT = re.compile("train|val|test|dev")


def own_folders(folder: Path) -> list[Path]:
    """Return the folders where a dataset's annotation files may be: its own and those right below it."""
    try:
        return [folder, *folders_in(folder)]
    except OSError:
        return []


def read_parts(
    path: Path, files: Mapping[Path, str], read: Callable[[Path], tuple[AnnotatedDataset, Path]]
) -> list[AnnotatedDataset]:
    """Read annotation files of one dataset; their images are named from one folder.

    Args:
        path: the dataset's folder, or its one file.
        files: the split of each file.
        read: reads a file; returns the dataset, its images in a list, and the folder of its pictures.
    """
    parts: list[AnnotatedDataset] = []
    roots: list[Path] = []
    for file, split in files.items():
        part, root = read(file)
        for image in part.images:
            image.split = split
        parts.append(part)
        roots.append(root)
    _name_from_one_folder(path, parts, roots)
    return parts


def splits_of(paths: Sequence[Path], folder: Path) -> dict[Path, str]:
    """Tell the splits of annotation files by where they lie and what they are called.

    Args:
        paths: in `folder` or the folders right below it.
        folder: the dataset's.

    Returns:
        For each file the name of its folder, where that is one below and not ``annotations``; else its own.
        Empty where the name says nothing.
    """
    splits = {path: _split(path, folder) for path in paths}
    if len(paths) == 1 and not _SPLIT.search(splits[paths[0]].lower()):
        return {paths[0]: ""}
    return splits


def _split(path: Path, folder: Path) -> str:
    if path.parent not in (folder, folder / "annotations"):
        return path.parent.name
    name = path.stem.removesuffix(".coco").strip("_").removeprefix("instances_")
    return "" if name.lower() in _PLAIN else name


def unique_images(parts: Sequence[AnnotatedDataset], report: AnnotationReport) -> list[AnnotatedImage]:
    """Return the images of all parts; entries of one picture in one file are joined.

    Args:
        parts: their images are changed.
        report: is told of what was joined.

    Raises:
        DataError: for a picture of two files, or of two sizes.
    """
    found: dict[str, tuple[AnnotatedImage, str]] = {}
    for part in parts:
        for image in part.images:
            first, source = found.setdefault(image.name, (image, part.source))
            if first is image:
                continue
            if source != part.source:
                raise DataError(
                    f"The image {image.name} is listed in {source} and {part.source}; name one of them."
                )
            if (first.height, first.width) != (image.height, image.width):
                raise DataError(
                    f"The image {image.name} is listed twice in {source}, with two sizes; "
                    "remove one of the entries."
                )
            first.annotations = [*first.annotations, *image.annotations]
            report.add(
                "changed", "the picture is listed twice; its entries are joined", f"{source}, {image.name}"
            )
    return [image for image, _ in found.values()]


def _name_from_one_folder(path: Path, parts: Sequence[AnnotatedDataset], roots: Sequence[Path]) -> None:
    """Name images from the folder that holds those of all parts; where the parts share one, nothing changes.

    Args:
        path: the dataset's folder, which is taken where all are below it.
        parts: their images are changed.
        roots: the folder from which each part's images are named.
    """
    absolute = [os.path.abspath(root) for root in roots]
    if len(set(absolute)) == 1:
        return
    base = os.path.abspath(path)
    if not all(Path(root).is_relative_to(base) for root in absolute):
        base = os.path.commonpath(absolute)
    for part, root in zip(parts, absolute, strict=True):
        below = Path(os.path.relpath(root, base))
        for image in part.images:
            image.name = (below / image.name).as_posix()
