"""Labelme files written by a model, for a person to correct."""

from __future__ import annotations

import datetime
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from cardamage.data.formats.labelme.marks import State, marked, state_of
from cardamage.data.formats.labelme.writing import labelme_text
from cardamage.engine.arguments import check_prediction_limits
from cardamage.engine.prediction_records import Predictor, batched, describe_instances, keep_above
from cardamage.errors import ConfigValueError, TrainingError
from cardamage.utils.counting import counted
from cardamage.utils.files import atomic_write, describe_write_error

from .labelme_content import detected_content
from .photos import labelme_file_of, left_out, read_photos
from .polygons import Fit, trace

__all__ = ["PrelabelReport", "PrelabelSettings", "prelabel_files"]


@dataclass(frozen=True)
class PrelabelSettings:
    """How to pre-label.

    Attributes:
        threshold: lowest score of an object, 0 to 1.
        tolerance: by how many pixels an outline may leave the mask's own, 0 or more.
        speck: parts of an object, and holes, of fewer pixels are left out; an object's largest part stays.
        batch_size: photos given to the model at a time.
        model: what to call the model in the mark.
        output: folder of the Labelme files; None puts each beside its photo.
    """

    threshold: float = 0.5
    tolerance: float = 1.0
    speck: int = 16
    batch_size: int = 4
    model: str = ""
    output: Path | None = None

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            ConfigValueError: one is out of its range.
        """
        check_prediction_limits(self.threshold, self.batch_size)
        if not 0 <= self.tolerance <= 1000:
            raise ConfigValueError(f"--tolerance is a distance of 0 to 1000 pixels, not {self.tolerance:g}.")
        if self.speck < 0:
            raise ConfigValueError(f"--speck is a number of pixels, 0 or more, not {self.speck}.")


@dataclass
class PrelabelReport:
    """What a run of :func:`prelabel_files` did.

    Attributes:
        written: Labelme files written.
        left_alone: Labelme files that a person or another program has touched.
        empty: photos in which nothing was found; they have no file, so that nobody takes them for checked.
        failed: photos left out, with the sentence that says why.
        fits: how near the outlines are to the masks, for each object.
    """

    written: list[Path] = field(default_factory=list)
    left_alone: list[Path] = field(default_factory=list)
    empty: list[Path] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    fits: list[Fit] = field(default_factory=list)

    def summary(self) -> str:
        """Return the report as lines of text."""
        files, objects = counted(len(self.written), "Labelme file"), counted(len(self.fits), "object")
        lines = [
            f"Written: {files} with {objects}.",
            f"Left alone: {len(self.left_alone)} that a person or another program has changed.",
            f"Empty: {counted(len(self.empty), 'photo')} in which nothing was found, without a file.",
        ]
        if self.fits:
            ious = np.array([fit.iou for fit in self.fits])
            distances = np.array([fit.distance for fit in self.fits])
            lines.append(
                f"Outlines against masks: IoU {np.median(ious):.3f} (median), {ious.min():.3f} (lowest); "
                f"distance {np.median(distances):.2f} px (median), {distances.max():.2f} px (largest)."
            )
        return "\n".join([*lines, *left_out(self.failed)])


def prelabel_files(
    predictor: Predictor,
    photos: Sequence[Path],
    root: Path,
    settings: PrelabelSettings,
    metadata: Any = None,
) -> PrelabelReport:
    """Write a Labelme file with the model's masks for each photo.

    Files that anybody has touched stay as they are, see :mod:`cardamage.data.formats.labelme.marks`; those of
    an earlier run are written again, and removed where nothing is found any more. Each file is written whole
    or not at all.

    Args:
        predictor: such as a ``DefaultPredictor`` that returns masks as run lengths.
        photos: the pictures.
        root: folder that they are in.
        settings: see :class:`PrelabelSettings`.
        metadata: class names.

    Raises:
        TrainingError: a file can't be written.
    """
    report = PrelabelReport()
    targets = _targets(photos, root, settings.output, report)
    with tqdm(total=len(targets), desc="pre-label", unit="photo", disable=None) as bar:
        for batch in batched(read_photos(targets, report.failed), settings.batch_size):
            outputs = predictor([image for _, image in batch])
            for (photo, image), output in zip(batch, outputs, strict=True):
                found = describe_instances(keep_above(output["instances"], settings.threshold), metadata)
                _write(photo, targets[photo], image.shape[:2], found, settings, report)
                bar.update()
    return report


def _targets(
    photos: Sequence[Path], root: Path, output: Path | None, report: PrelabelReport
) -> dict[Path, Path]:
    """The Labelme file of each photo that has none, or one of ours."""
    targets: dict[Path, Path] = {}
    taken: dict[str, Path] = {}
    for photo in photos:
        target = labelme_file_of(photo if output is None else output / photo.relative_to(root))
        first = taken.setdefault(os.path.normcase(target).casefold(), photo)
        if first is not photo:
            report.failed[str(photo)] = (
                f"{photo} would share the Labelme file {target.name} with {first.name}; rename one of them."
            )
        elif state_of(target) is State.TOUCHED:
            report.left_alone.append(target)
        else:
            targets[photo] = target
    return targets


def _write(
    photo: Path,
    target: Path,
    size: tuple[int, int],
    found: list[dict[str, Any]],
    settings: PrelabelSettings,
    report: PrelabelReport,
) -> None:
    """Write one file, or none where nothing was found."""
    traced = [trace(record["segmentation"], settings.tolerance, settings.speck) for record in found]
    found = [record for record, outline in zip(found, traced, strict=True) if outline.polygons]
    traced = [outline for outline in traced if outline.polygons]
    # Once more, as somebody may have saved it while the model was at work.
    state = state_of(target)
    if state is State.TOUCHED:
        report.left_alone.append(target)
        return
    try:
        if not found:
            report.empty.append(photo)
            if state is State.OURS:
                target.unlink()
            return
        polygons = [outline.polygons for outline in traced]
        content = marked(
            detected_content(found, polygons, _relative(photo, target), size),
            model=settings.model,
            date=datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
            threshold=settings.threshold,
            tolerance=settings.tolerance,
        )
        with atomic_write(os.path.realpath(target)) as stream:
            stream.write(labelme_text(content))
    except OSError as error:
        raise TrainingError(describe_write_error(target.parent, error, "--output")) from error
    report.written.append(target)
    report.fits += [outline.fit for outline in traced]


def _relative(photo: Path, target: Path) -> str:
    """The photo as Labelme names it: from the JSON's folder, with forward slashes."""
    # Folders may be links, out of which ".." leads elsewhere; the photo itself keeps its name.
    place = Path(os.path.realpath(photo.parent), photo.name)
    try:
        return Path(os.path.relpath(place, os.path.realpath(target.parent))).as_posix()
    except ValueError:
        # Another drive of Windows.
        return place.as_posix()
