"""Annotations of one format turned into another: read, checked, divided, written, and all of it told."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ....errors import DataError
from ....utils.heap import frozen_objects
from ...annotations.report import AnnotationReport
from ..dataset import AnnotatedDataset
from ..registry import WriteOptions, Written, write_annotations
from ..shared.text_files import read_text
from .gathering import gathered
from .log import ConversionLog, LoggedReport
from .options import ConvertOptions
from .parts import WHOLE, divided, rest_in_a_folder
from .preparing import Preparation
from .progress import ToldImages
from .split import part_names
from .survey import Survey, part_table
from .target import check_pictures_apart, check_sources, check_target, whole_or_nothing

__all__ = ["LOG_NAME", "Conversion", "ConvertOptions", "convert", "read_class_list"]

LOG_NAME = "conversion.log"
_WITHOUT_LIST = {"labelme": "Labelme", "via": "VIA"}


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
        dataset, found, read = gathered(sources, replace(options, read=prepared), reports, losses)
        if not found.names:
            raise DataError(f"There is no image in {dataset.source}, so there is nothing to convert.")
        if not options.into_used:
            check_pictures_apart(folder, sources, found.sources)
        found.check_pictures()
        dataset, parts, groups = divided(dataset, found, names, options)
        if format == "labelme":
            dataset = rest_in_a_folder(dataset, parts)
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
    used = {index for counts in found.objects for index in counts} | found.crowded
    kept = [label for index, label in enumerate(dataset.classes) if index in used]
    for label in (label for label in dataset.classes if label not in kept):
        losses.add("lost", f"{name} has no place for a class without objects", f"The class {label!r}")
    if kept != sorted(kept):
        reason = f"{name} has no order of classes, and they are read by name; --classes gives another order"
        losses.add("changed", reason, dataset.source)


def _heading(reports: Sequence[AnnotationReport], losses: AnnotationReport) -> str:
    lines = [report.summary(shown=0) for report in reports]
    return "\n".join(
        [*lines, f"Lost or changed by the target's format: {losses.counts.total()}.", "", "Each case:"]
    )
