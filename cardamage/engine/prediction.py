"""A model over files: overlays to look at and one JSON to work with."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from cardamage.data.images.reading import read_image
from cardamage.errors import DataError
from cardamage.structures import Instances
from cardamage.utils.files import atomic_write, ensure_writable_dir

from .prediction_inputs import VIDEO_SUFFIXES, find_inputs
from .prediction_records import Predictor, batched, describe_instances, draw_instances, keep_above
from .video_prediction import predict_video

__all__ = ["PredictionReport", "find_inputs", "predict_files"]


logger = logging.getLogger(__name__)


@dataclass
class PredictionReport:
    """What a run of :func:`predict_files` did.

    Attributes:
        output: the folder written to.
        images: number of pictures predicted.
        frames: number of video frames predicted.
        objects: number of objects found.
        failed: files that couldn't be read, with the sentence that says why.
    """

    output: Path
    images: int = 0
    frames: int = 0
    objects: int = 0
    failed: dict[str, str] = field(default_factory=dict)


def predict_files(
    predictor: Predictor,
    files: Sequence[Path],
    output_dir: str | os.PathLike[str],
    metadata: Any = None,
    *,
    threshold: float = 0.5,
    batch_size: int = 4,
) -> PredictionReport:
    """Predict pictures and videos, draw the objects found and write them down.

    ``OUTPUT/<name>.jpg`` is a picture with its objects, ``OUTPUT/<name>.mp4`` and ``OUTPUT/<name>.json`` a
    video with the objects of each frame, ``OUTPUT/predictions.json`` the list of all. A file that can't be
    read is reported and left out. After Ctrl-C ``predictions.json`` holds what was done until then.

    Args:
        predictor: such as a ``DefaultPredictor``.
        files: pictures and videos.
        output_dir: made if missing.
        metadata: class names and colors.
        threshold: lowest score of an object, 0 to 1.
        batch_size: pictures given to the predictor at a time.

    Raises:
        DataError: no file at all could be read.
        KeyboardInterrupt: after Ctrl-C, with what was done written down.
    """
    report = PredictionReport(ensure_writable_dir(output_dir))
    done = _Done()
    try:
        _predict_all(predictor, files, report, done, metadata, threshold, batch_size)
    except KeyboardInterrupt:
        if done.count:
            _write_report(report, done)
            logger.warning(
                "Interrupted: %s holds the %d of %d files done so far.",
                report.output / "predictions.json",
                done.count,
                len(files),
            )
        raise
    if not done.count:
        raise DataError("None of the files could be read: " + " ".join(report.failed.values()))
    _write_report(report, done)
    return report


@dataclass
class _Done:
    """Entries of ``predictions.json``."""

    images: list[dict[str, Any]] = field(default_factory=list)
    videos: list[dict[str, Any]] = field(default_factory=list)

    @property
    def count(self) -> int:
        return len(self.images) + len(self.videos)


def _predict_all(
    predictor: Predictor,
    files: Sequence[Path],
    report: PredictionReport,
    done: _Done,
    metadata: Any,
    threshold: float,
    batch_size: int,
) -> None:
    """Predict the pictures, then the videos; what is finished stands in ``done`` at any moment."""
    targets = {file: report.output / name for file, name in _output_names(files).items()}
    videos = [file for file in files if file.suffix.lower() in VIDEO_SUFFIXES]
    pictures = [file for file in files if file.suffix.lower() not in VIDEO_SUFFIXES]
    with tqdm(total=len(files), desc="predict", unit="file", disable=None) as bar:
        for batch in batched(_read_all(pictures, report, bar), batch_size):
            outputs = predictor([image for _, image in batch])
            for (file, image), output in zip(batch, outputs, strict=True):
                found = keep_above(output["instances"], threshold)
                done.images.append(_write_picture(file, targets[file], image, found, metadata))
                bar.update()
        for file in videos:
            try:
                clip = predict_video(predictor, file, targets[file], metadata, threshold, batch_size)
                done.videos.append(clip)
            except DataError as error:
                report.failed[str(file)] = str(error)
            bar.update()


def _write_report(report: PredictionReport, done: _Done) -> None:
    report.images = len(done.images)
    report.frames = sum(clip["frames"] for clip in done.videos)
    report.objects = sum(len(i["instances"]) for i in done.images)
    report.objects += sum(clip["objects"] for clip in done.videos)
    failed = [{"file": file, "reason": reason} for file, reason in report.failed.items()]
    with atomic_write(report.output / "predictions.json") as stream:
        content = {"images": done.images, "videos": done.videos, "failed": failed}
        json.dump(content, stream, indent=1, ensure_ascii=False)


def _read_all(
    files: Sequence[Path], report: PredictionReport, bar: tqdm
) -> Iterator[tuple[Path, np.ndarray]]:
    for file in files:
        try:
            image = read_image(file, "BGR")
        except DataError as error:
            report.failed[str(file)] = str(error)
            bar.update()
        else:
            yield file, image


def _output_names(files: Sequence[Path]) -> dict[Path, str]:
    """Give each file a name of its own, also where capitals don't count: a.jpg, b/a.png -> a, a-2."""
    taken, names = {"predictions"}, {}
    for file in files:
        name, number = file.stem, 1
        while name.casefold() in taken:
            number += 1
            name = f"{file.stem}-{number}"
        taken.add(name.casefold())
        names[file] = name
    return names


def _write_picture(
    file: Path, target: Path, image: np.ndarray, instances: Instances, metadata: Any
) -> dict[str, Any]:
    overlay = target.with_name(f"{target.name}.jpg")
    draw_instances(image, instances, metadata).save(overlay)
    height, width = image.shape[:2]
    return {
        "file": str(file),
        "overlay": overlay.name,
        "width": width,
        "height": height,
        "instances": describe_instances(instances, metadata),
    }
