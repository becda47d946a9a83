"""The formats by name: which one a path holds, how it is read, how it is written."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

from ...errors import ConfigValueError, DataError
from ...utils.suggest import did_you_mean
from ..annotations.report import AnnotationReport
from .dataset import AnnotatedDataset, Prepare
from .shared.listing import listed_once

__all__ = ["FORMATS", "ReadOptions", "WriteOptions", "read_annotations", "recognize", "write_annotations"]

FORMATS = ("labelme", "coco", "via", "yolo", "masks")


@dataclass(frozen=True)
class ReadOptions:
    """What a reader may be told.

    Attributes:
        classes: names in their order; None takes those that are found.
        image_root: folder of the pictures; None looks in the usual places.
        line_width: of lines and line strips, in pixels.
        attribute: VIA's region attribute that holds the class; None finds it.
        workers: processes that read at once; 0 is one for each core.
        cache: folder that remembers what was read, by content; None reads everything again.
        skip_unreviewed: whether Labelme files that a model wrote and nobody has changed since are left out.
        prepare: what is done with images right after they were read. Readers may leave it; those that did it
            give the dataset ``heads``.
    """

    classes: Sequence[str] | None = None
    image_root: str | os.PathLike[str] | None = None
    line_width: float = 5.0
    attribute: str | None = None
    workers: int = 0
    cache: str | os.PathLike[str] | None = None
    skip_unreviewed: bool = False
    prepare: Prepare | None = None

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            ConfigValueError: for a width of lines that is none.
        """
        if not 0 < self.line_width < float("inf"):
            raise ConfigValueError(f"--line-width must be above 0, not {self.line_width:g}.")


@dataclass(frozen=True)
class WriteOptions:
    """How a writer writes.

    Attributes:
        pictures: ``"copy"`` puts them into the target byte for byte, ``"link"`` links to them, ``"keep"``
            leaves them where they are and names them from there, where the format can.
        tolerance: outlines traced around masks may be simplified by so many pixels.
        embed: whether Labelme files hold their pictures.
        masks: of mask PNGs, ``"instance"`` (a file for each object) or ``"index"`` (one for each picture).
    """

    pictures: str = "keep"
    tolerance: float = 0.0
    embed: bool = False
    masks: str = "instance"

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            ConfigValueError: for a tolerance that is no distance.
        """
        if not 0 <= self.tolerance < float("inf"):
            raise ConfigValueError(f"--tolerance must be 0 or more, not {self.tolerance:g}.")


@dataclass
class Written:
    """What a writer wrote.

    Attributes:
        files: the annotation files that stand for the whole, such as COCO's JSON or YOLO's ``data.yaml``;
            of formats of many files their folder.
        dataset: how to name it in ``DATASETS.TRAIN``, for each split.
        notes: sentences on what other programs make of it.
    """

    files: list[Path] = field(default_factory=list)
    dataset: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def recognize(source: str | os.PathLike[str]) -> str:
    """Tell a path's format by its content.

    Args:
        source: a file or folder.

    Returns:
        One of :data:`FORMATS`.

    Raises:
        DataError: where it is none of them, more than one, or not there.
    """
    path = Path(source)
    if not path.exists():
        raise DataError(f"{path} does not exist.")
    with listed_once():
        found = [name for name in FORMATS if _function(name, "recognize")(path)]
    if len(found) == 1:
        return found[0]
    if not found:
        raise DataError(f"{path} holds no format that is known ({', '.join(FORMATS)}); name one with --from.")
    raise DataError(f"{path} could be {' or '.join(found)}; name one with --from.")


def read_annotations(
    source: str | os.PathLike[str],
    format: str | None = None,
    options: ReadOptions | None = None,
    report: AnnotationReport | None = None,
) -> AnnotatedDataset:
    """Read annotations of any format.

    Args:
        source: a file or folder.
        format: one of :data:`FORMATS`; None recognizes it.
        options: see :class:`ReadOptions`.
        report: is told what can't be used; by default it is logged.

    Raises:
        DataError: for an unknown format, or input that can't be used.
    """
    name = recognize(source) if format is None else _known(format)
    findings = report or AnnotationReport(os.fspath(source))
    dataset: AnnotatedDataset = _function(name, "read")(Path(source), options or ReadOptions(), findings)
    if report is None:
        findings.log()
    return dataset


def write_annotations(
    dataset: AnnotatedDataset,
    folder: str | os.PathLike[str],
    format: str,
    options: WriteOptions | None = None,
    losses: AnnotationReport | None = None,
) -> Written:
    """Write annotations in any format.

    Args:
        dataset: what to write; images' ``split`` makes the parts.
        folder: is made where it is missing.
        format: one of :data:`FORMATS`.
        options: see :class:`WriteOptions`.
        losses: is told what the format has no place for; by default it is logged.

    Raises:
        DataError: for an unknown format, or annotations that it can't hold at all.
        TrainingError: where the folder can't be written.
    """
    lost = losses or AnnotationReport(dataset.source)
    written: Written = _function(_known(format), "write")(
        dataset, Path(folder), options or WriteOptions(), lost
    )
    if losses is None:
        lost.log()
    return written


def _known(format: str) -> str:
    if format in FORMATS:
        return format
    hint = did_you_mean(format, FORMATS) or f"; there are {', '.join(FORMATS)}."
    raise DataError(f"The format {format!r} is unknown{hint}")


def _function(format: str, name: str) -> Callable[..., Any]:
    # Imported late: most commands use one of them.
    function: Callable[..., Any] = getattr(import_module(f"{__package__}.{format}"), name)
    return function
