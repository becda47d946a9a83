"""The sources of a conversion read, checked and made one dataset."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import PurePosixPath

from ....errors import DataError
from ...annotations.report import AnnotationReport
from ..dataset import AnnotatedDataset
from ..pictures.placing import FreeNames
from ..registry import read_annotations
from ..shared.shared_root import common_folder
from .naming import without_layout
from .options import ConvertOptions
from .parts import parts_by_folder
from .reshaping import merged, ordered, parse_renames, renamed
from .survey import Survey, checked_dataset

__all__ = ["gathered"]


def gathered(
    sources: Sequence[str | os.PathLike[str]],
    options: ConvertOptions,
    reports: Sequence[AnnotationReport],
    losses: AnnotationReport,
) -> tuple[AnnotatedDataset, Survey, dict[str, tuple[str, int]]]:
    """Read all sources as one dataset with its final classes, checked.

    Args:
        sources: files or folders.
        options: see :class:`ConvertOptions`.
        reports: of each source, are told what was found in it.
        losses: is told what becomes of names and fields where several sets become one.

    Returns:
        The dataset, what is known about its images, and format and images of each source.

    Raises:
        DataError: for input or names that can't be used.
    """
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
            checked = parts_by_folder(checked, survey)
        if dataset.format in ("yolo", "masks", "via") or (dataset.format == "labelme" and any(survey.splits)):
            checked = without_layout(checked, survey)
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


def _joined(surveys: Sequence[Survey]) -> Survey:
    whole = surveys[0]
    for other in surveys[1:]:
        whole.unseen += [len(whole.names) + i for i in other.unseen]
        whole.names += other.names
        whole.sources += other.sources
        whole.sizes += other.sizes
        whole.objects += other.objects
        whole.crowded |= other.crowded
        whole.splits += other.splits
        whole.embedded += other.embedded
    return whole
