"""Annotations in memory written as mask PNGs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pycocotools.mask as mask_util

from ....errors import TrainingError
from ....utils.files import atomic_write, describe_write_error
from ...annotations import outlines
from ...annotations.checks import RawAnnotation, checked_rle
from ...annotations.report import AnnotationReport
from ...images.signs import PICTURE_SUFFIXES
from ..dataset import AnnotatedDataset, AnnotatedImage, class_id
from ..losses import tell_box, tell_fields
from ..pictures.split_placing import SplitPictures
from ..registry import WriteOptions, Written
from ..tracing.parts import parts_inside
from .layout import class_tokens
from .pixels import regions

__all__ = ["write"]

# The value that index masks have for pixels that don't count.
_IGNORED = 255
_FORMAT = "a folder of masks"


def write(
    dataset: AnnotatedDataset, folder: Path, options: WriteOptions, losses: AnnotationReport
) -> Written:
    """Write ``images``, ``masks`` and ``classes.txt``, with a folder for each split.

    Args:
        dataset: what to write.
        folder: the target.
        options: `masks` chooses the kind, ``"instance"`` (each object exactly) or ``"index"``; `pictures`
            counts, those that are to be kept where they are get linked.
        losses: is told of objects without outline and of crowd regions, which are left out, and of what else
            has no place.

    Raises:
        DataError: for a label that is not among the classes, a damaged mask, or a picture that can't be
            copied.
        TrainingError: where the folder can't be written.
    """
    pictures = SplitPictures(folder, options.pictures, _FORMAT, PICTURE_SUFFIXES)
    ids = {name: number for number, name in enumerate(dataset.classes)}
    names = [" ".join(name.split()) or f"class {i}" for i, name in enumerate(dataset.classes)]
    tokens = class_tokens(names)
    as_index = options.masks == "index"
    tell_fields(dataset.extra, _FORMAT, dataset.source, losses)
    try:
        for image in dataset.images:
            _, placed = pictures.place(image, losses)
            target = folder / "masks" / placed.with_suffix("")
            objects = [(class_id(raw, ids), rle) for raw, rle in _objects(image, losses)]
            if as_index:
                _write_index(target, image, objects, losses)
            else:
                _write_instances(target, [(tokens[number], rle) for number, rle in objects])
        with atomic_write(folder / "classes.txt") as stream:
            stream.write(_class_list(names) if as_index else "".join(f"{name}\n" for name in names))
    except OSError as error:
        raise TrainingError(describe_write_error(folder, error, "the output folder")) from error
    for name, written in zip(dataset.classes, names, strict=True):
        if name != written:
            losses.add(
                "changed", "a class is called otherwise", dataset.source, f"{name!r} is {written!r} now"
            )
    return Written([folder / "masks"])


def _objects(
    image: AnnotatedImage, losses: AnnotationReport
) -> Iterator[tuple[RawAnnotation, dict[str, Any]]]:
    """What can be drawn, as run-length masks."""
    for raw in image.annotations:
        losses.read += 1
        tell_fields(raw.extra, _FORMAT, raw.place, losses)
        if raw.iscrowd:
            reason = "it is a region of uncounted objects (crowd), which masks have no place for"
        elif raw.rle is None and raw.polygons is None:
            reason = "it has no outline, so there is no mask to draw"
        else:
            rle = _drawn(raw, image.height, image.width, losses)
            if rle is not None and mask_util.area(rle) > 0:
                yield raw, rle
                continue
            reason = "its mask has no pixel"
        losses.add("lost", reason, raw.place)


def _drawn(raw: RawAnnotation, height: int, width: int, losses: AnnotationReport) -> dict[str, Any] | None:
    if raw.rle is not None:
        given: dict[str, Any] = checked_rle(raw, height, width)
        tell_box(raw, given, losses)
        return given
    parts = parts_inside(raw, height, width, losses)
    tell_box(raw, parts, losses)
    if not parts:
        return None
    rles = mask_util.frPyObjects([outlines.flat(part) for part in parts], height, width)
    whole: dict[str, Any] = mask_util.merge(rles)
    return whole


def _write_instances(folder: Path, objects: Sequence[tuple[str, dict[str, Any]]]) -> None:
    for number, (token, rle) in enumerate(objects, start=1):
        _save(folder / f"{number}_{token}.png", mask_util.decode(rle) * np.uint8(255))


def _write_index(
    target: Path,
    image: AnnotatedImage,
    objects: Sequence[tuple[int, dict[str, Any]]],
    losses: AnnotationReport,
) -> None:
    values = np.zeros((image.height, image.width), dtype=np.uint16)
    covered = 0
    for number, rle in objects:
        mask = mask_util.decode(rle) != 0
        covered += int(np.count_nonzero(values[mask]))
        values[mask] = _value(number)
    if covered:
        detail = f"{covered} pixels belong to several objects, and keep the class of the last one only"
        losses.add("lost", "objects overlap, and index masks hold one of them", image.name, detail)
    found = regions(values, sorted({_value(number) for number, _ in objects}), image.name)
    if len(found) != len(objects) and not covered:
        detail = f"its {len(objects)} objects are {len(found)} regions"
        losses.add("lost", "index masks don't tell which regions are one object", image.name, detail)
    _save(
        target.with_name(f"{target.name}.png"), values if values.max() > _IGNORED else values.astype(np.uint8)
    )


def _value(number: int) -> int:
    """The value of a class: from 1, without 255, which many take for what doesn't count."""
    return number + 1 if number + 1 < _IGNORED else number + 2


def _class_list(names: Sequence[str]) -> str:
    """Names by value, one a line from 0 on."""
    lines = ["background", *names]
    if len(lines) > _IGNORED:
        lines.insert(_IGNORED, "ignore")
    return "".join(f"{line}\n" for line in lines)


def _save(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    _, data = cv2.imencode(".png", np.ascontiguousarray(pixels))
    path.write_bytes(data.tobytes())
