"""Annotations of one format turned into another: read, checked, divided, written, and all of it told."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath

from ....errors import DataError
from ....utils.heap import frozen_objects
from ...annotations.report import AnnotationReport
from ..dataset import AnnotatedDataset, AnnotatedImage
from ..registry import ReadOptions, WriteOptions, Written, read_annotations, write_annotations
from ..shared.pictures import FreeNames
from ..shared.shared_root import common_folder
from ..shared.text_files import read_text
from .log import ConversionLog, LoggedReport
from .preparing import Preparation
from .progress import ToldImages
from .reshaping import ChangedImages, merged, ordered, parse_renames, renamed
from .split import part_names, photo_groups, split_images
from .survey import Survey, checked_dataset, part_table
from .target import check_pictures_apart, check_sources, check_target, whole_or_nothing

__all__ = ["LOG_NAME", "Conversion", "ConvertOptions", "convert", "read_class_list"]

LOG_NAME = "conversion.log"
_PART_FOLDERS = frozenset({"train", "val", "valid", "test", "all"})
_WITHOUT_LIST = {"labelme": "Labelme", "via": "VIA"}
# What a part is called where the source has none and none is asked for.
WHOLE = "all"


@dataclass(frozen=True)
class ConvertOptions:
    """What to make of the sources.

    Attributes:
        source_format: one of the registry's formats; None recognizes it.
        split: shares of train and val, or train, val and test; nothing keeps the source's parts.
        seed: of the division.
        rename: rules ``old=new`` for classes.
        merge: whether several sources become one dataset.
        parts_by_folder: whether a Labelme folder with nothing but ``train``, ``val``, ``valid``, ``test`` and
            ``all`` in it has these parts, as our own writer makes them.
        classes: their order after renaming; None keeps the source's. Without renaming they also name the
            numbers of sources that have no list of classes.
        into_used: whether the target may be a folder in use, and nothing but the dataset is written to it.
        read: see :class:`ReadOptions`.
        write: see :class:`WriteOptions`; pictures are copied unless it says otherwise.
    """

    source_format: str | None = None
    split: Sequence[float] = ()
    seed: int = 0
    rename: Sequence[str] = ()
    merge: bool = False
    parts_by_folder: bool = True
    classes: Sequence[str] | None = None
    into_used: bool = False
    read: ReadOptions = field(default_factory=ReadOptions)
    write: WriteOptions = field(default_factory=lambda: WriteOptions(pictures="copy"))


@dataclass
class Conversion:
    """What a conversion did.

    Attributes:
        written: the files, and how to name them as datasets.
        read: format and images of each source.
        classes: names, in the order of the target's ids.
        images: images in each part.
        objects: objects of each class in each part.
        groups: images of each group of one photo that a split kept together.
        reports: what was found, for each source.
        losses: what the target has no place for.
    """

    written: Written
    read: dict[str, tuple[str, int]]
    classes: list[str]
    images: dict[str, int]
    objects: dict[str, Counter[str]]
    groups: list[list[int]]
    reports: list[AnnotationReport]
    losses: AnnotationReport


@frozen_objects()
def convert(
    sources: Sequence[str | os.PathLike[str]],
    target: str | os.PathLike[str],
    format: str,
    options: ConvertOptions | None = None,
) -> Conversion:
    """Convert annotations, and say in ``target/conversion.log`` what became of each that is not as it was.

    Nothing is written before everything was read and found usable. What stops the writing leaves no files.

    Args:
        sources: files or folders; never written to.
        target: folder of the result, new or empty, outside of the sources; where a source is a file beside
            or above its pictures, outside of its folder.
        format: one of the registry's formats.
        options: see :class:`ConvertOptions`.

    Returns:
        What was done.

    Raises:
        DataError: for input, names or shares that can't be used.
        TrainingError: where the target can't be written.
    """
    options = options or ConvertOptions()
    names = part_names(options.split) if options.split else []
    folder = Path(target)
    check_sources(sources, options.merge)
    if not options.into_used:
        check_target(folder, sources)
    log = ConversionLog()
    try:
        shown = 20 if not options.into_used else 1_000_000
        losses = LoggedReport(os.fspath(target), log, shown)
        reports: list[AnnotationReport] = [LoggedReport(os.fspath(s), log, shown) for s in sources]
        prepared = replace(options.read, prepare=Preparation(texts=format == "coco"))
        dataset, found, read = _gathered(sources, replace(options, read=prepared), reports, losses)
        if not found.names:
            raise DataError(f"There is no image in {dataset.source}, so there is nothing to convert.")
        if not options.into_used:
            check_pictures_apart(folder, sources, found.sources)
        found.check_pictures()
        dataset, parts, groups = _divided(dataset, found, names, options)
        if format == "labelme":
            dataset = _rest_in_a_folder(dataset, parts)
        _tell_classes(dataset, found, format, losses)
        write = replace(
            options.write, pictures=_pictures(options.write, folder, format, found, parts, losses)
        )
        with whole_or_nothing(folder, options.into_used):
            # Most of the time where pictures are copied.
            told = replace(dataset, images=ToldImages(dataset.images, "write"))
            written = write_annotations(told, folder, format, write, losses)
            if not options.into_used:
                log.save(folder / LOG_NAME, _heading(reports, losses))
        images, objects = part_table(dataset.classes, found, parts)
        return Conversion(written, read, dataset.classes, images, objects, groups, reports, losses)
    finally:
        log.close()


def read_class_list(path: str | os.PathLike[str]) -> list[str]:
    """Read class names from a text file of one a line; empty lines and ``__ignore__`` are left out.

    Raises:
        DataError: for a file that can't be read.
    """
    lines = (line.strip() for line in read_text(path, "list of classes").splitlines())
    return [line for line in lines if line and not line.startswith("__")]


def _gathered(
    sources: Sequence[str | os.PathLike[str]],
    options: ConvertOptions,
    reports: Sequence[AnnotationReport],
    losses: AnnotationReport,
) -> tuple[AnnotatedDataset, Survey, dict[str, tuple[str, int]]]:
    """All sources as one dataset with its final classes, checked."""
    found, read, raw = [], {}, []
    # Numbers that have no names yet get those that are not to be renamed.
    reading = options.read if options.rename else replace(options.read, classes=options.classes)
    for source, report in zip(sources, reports, strict=True):
        dataset = read_annotations(source, options.source_format, reading, report)
        raw.append(dataset)
        read[os.fspath(source)] = (dataset.format, len(dataset.images))
    if reading.skip_unreviewed and not any(dataset.format == "labelme" for dataset in raw):
        raise DataError("--skip-unreviewed is for Labelme files, and none of the sources is of these.")
    known = list(dict.fromkeys(name for dataset in raw for name in dataset.classes))
    names = parse_renames(options.rename, known)
    ready = []
    classes = options.classes
    if classes is None:
        classes = list(dict.fromkeys(names.get(name, name) for name in known))
    for dataset, report in zip(raw, reports, strict=True):
        checked, survey = checked_dataset(ordered(renamed(dataset, names), classes), report)
        if options.parts_by_folder and dataset.format == "labelme":
            checked = _parts_by_folder(checked, survey)
        ready.append(checked)
        found.append(survey)
    whole = _joined(found)
    if len(ready) > 1:
        _tell_names(whole.names, losses)
    if len(ready) == 1 and options.write.pictures == "keep" and not whole.embedded:
        folder = common_folder(zip(whole.names, whole.sources, strict=True))
        return replace(ready[0], picture_root=folder), whole, read
    return merged(ready, losses), whole, read


def _tell_names(names: Sequence[str], losses: AnnotationReport) -> None:
    free = FreeNames()
    for name in names:
        new = free.take(PurePosixPath(name))
        if new != name:
            losses.add("changed", "another set has a picture of its name", name, f"it is {new} now")


def _parts_by_folder(dataset: AnnotatedDataset, found: Survey) -> AnnotatedDataset:
    parts = [name.partition("/")[0] if "/" in name else "" for name in found.names]
    if not set(parts) <= _PART_FOLDERS or set(parts) == {WHOLE} or any(found.splits):
        return dataset
    found.splits = parts
    images = ChangedImages(dataset.images, lambda index, image: replace(image, split=parts[index]))
    return replace(dataset, images=images)


def _rest_in_a_folder(dataset: AnnotatedDataset, parts: Sequence[str]) -> AnnotatedDataset:
    """What has no part while others have: a folder of Labelme files is read with those below it."""
    if len(set(parts)) == 1:
        return dataset
    images = ChangedImages(dataset.images, lambda index, image: replace(image, split=parts[index]))
    return replace(dataset, images=images)


def _pictures(
    write: WriteOptions,
    folder: Path,
    format: str,
    found: Survey,
    parts: Sequence[str],
    losses: AnnotationReport,
) -> str:
    """How to place pictures: those that are to be kept may be out of the target's reach."""
    if write.pictures != "keep":
        return write.pictures
    if found.embedded:
        return "copy"
    if format == "labelme" and not write.embed:
        # Readers of Labelme files take pictures from the folder and from beside it, not from farther away.
        root = folder / "part" if set(parts) != {WHOLE} else folder
        around = os.path.join(os.path.dirname(os.path.abspath(root)), "")
        if not all(os.path.abspath(source).startswith(around) for source in found.sources):
            reason = "its pictures are linked to, as Labelme files don't name pictures that are farther away"
            losses.add("changed", reason, os.fspath(folder))
            return "link"
    return "keep"


def _tell_classes(dataset: AnnotatedDataset, found: Survey, format: str, losses: AnnotationReport) -> None:
    """What becomes of the list of classes in formats that have none: they name classes with their objects."""
    name = _WITHOUT_LIST.get(format)
    if name is None:
        return
    used = {index for counts in found.objects for index in counts}
    kept = [label for index, label in enumerate(dataset.classes) if index in used]
    for label in (label for label in dataset.classes if label not in kept):
        losses.add("lost", f"{name} has no place for a class without objects", f"The class {label!r}")
    if kept != sorted(kept):
        reason = f"{name} has no order of classes, and they are read by name; --classes gives another order"
        losses.add("changed", reason, dataset.source)


def _joined(surveys: Sequence[Survey]) -> Survey:
    whole = surveys[0]
    for other in surveys[1:]:
        whole.unseen += [len(whole.names) + i for i in other.unseen]
        whole.names += other.names
        whole.sources += other.sources
        whole.sizes += other.sizes
        whole.objects += other.objects
        whole.splits += other.splits
        whole.embedded += other.embedded
    return whole


def _divided(
    dataset: AnnotatedDataset, found: Survey, names: Sequence[str], options: ConvertOptions
) -> tuple[AnnotatedDataset, list[str], list[list[int]]]:
    """The dataset with its parts, the part of each image, and the groups that were kept together."""
    if not names:
        return dataset, [split or WHOLE for split in found.splits], []
    groups = photo_groups(found.names, found.sources, options.read.workers)
    parts = [""] * len(found.names)
    divided = split_images(found.objects, options.split, options.seed, groups)
    for name, indices in zip(names, divided, strict=True):
        if not indices:
            raise DataError(
                f"The split leaves no image for {name}: there are {len(parts)} images, of which copies and "
                "near-duplicates of one photo stay on one side; add photos, or divide into fewer parts."
            )
        for index in indices:
            parts[index] = name

    def change(index: int, image: AnnotatedImage) -> AnnotatedImage:
        return replace(image, split=parts[index])

    # Fields that the source has for parts of its own have no part any more.
    extra = {key: value for key, value in dataset.extra.items() if key != "splits"}
    return replace(dataset, images=ChangedImages(dataset.images, change), extra=extra), parts, groups


def _heading(reports: Sequence[AnnotationReport], losses: AnnotationReport) -> str:
    lines = [report.summary(shown=0) for report in reports]
    return "\n".join(
        [*lines, f"Lost or changed by the target's format: {losses.counts.total()}.", "", "Each case:"]
    )
