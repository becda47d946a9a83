"""Annotations in memory written as YOLO's text files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pycocotools.mask as mask_util
import yaml

from ....errors import TrainingError
from ....utils.files import atomic_write, describe_write_error
from ...annotations import outlines
from ...annotations.checks import RawAnnotation, checked_rle
from ...annotations.report import AnnotationReport
from ...annotations.run_lengths import same_mask
from ...images.signs import PICTURE_SUFFIXES
from ..dataset import AnnotatedDataset, AnnotatedImage, class_id
from ..losses import tell_box, tell_fields
from ..pictures.split_placing import SplitPictures
from ..registry import WriteOptions, Written
from ..tracing.bridges import joined
from ..tracing.mask_outlines import mask_outlines, simplify
from ..tracing.parts import parts_inside

__all__ = ["write"]

# Up to photos of 10,000 pixels a side, this is a millionth of a pixel.
_SHARES = 1e10
# What Ultralytics reads of what is read here.
_SUFFIXES = PICTURE_SUFFIXES - {".jpe", ".jfif", ".dib", ".gif"}
_PART_NOTE = (
    "There is no {}, and Ultralytics trains on a data.yaml with train and val only; --split makes them."
)


def write(
    dataset: AnnotatedDataset, folder: Path, options: WriteOptions, losses: AnnotationReport
) -> Written:
    """Write ``images/<split>``, ``labels/<split>`` and ``data.yaml``; what has no split is ``train``.

    Outlines draw the same mask again: parts of an object are joined by bridges of no width, masks are traced
    along the edges of their pixels. An object without outline is written as a box. ``data.yaml`` has no
    ``path``: Ultralytics takes its own folder then, wherever it is moved.

    Args:
        dataset: what to write.
        folder: the target.
        options: `pictures` (labels are found by the place of the picture, so those that are to be kept where
            they are get linked) and `tolerance` count.
        losses: is told of crowd regions, which are left out, and of what else has no place.

    Raises:
        DataError: for a label that is not among the classes, a damaged mask, or a picture that can't be
            copied.
        TrainingError: where the folder can't be written.
    """
    pictures = SplitPictures(folder, options.pictures, "YOLO", _SUFFIXES, rest="train")
    ids = {name: number for number, name in enumerate(dataset.classes)}
    splits: dict[str, None] = {}
    tell_fields(dataset.extra, "YOLO", dataset.source, losses, carried=("roboflow", "license"))
    try:
        for image in dataset.images:
            split, placed = pictures.place(image, losses)
            splits[split] = None
            labels = folder / "labels" / placed.with_suffix(".txt")
            labels.parent.mkdir(parents=True, exist_ok=True)
            labels.write_text(_rows(image, ids, options.tolerance, losses), encoding="utf-8")
        file = folder / "data.yaml"
        with atomic_write(file) as stream:
            stream.write(_description(dataset, list(splits)))
    except OSError as error:
        raise TrainingError(describe_write_error(folder, error, "the output folder")) from error
    missing = [split for split in ("train", "val") if split not in splits]
    notes = [_PART_NOTE.format(" and no ".join(missing))] if missing else []
    return Written([file], {split: f"yolo:{file}#{split}" for split in splits}, notes)


def _description(dataset: AnnotatedDataset, splits: Sequence[str]) -> str:
    usual = [split for split in ("train", "val", "test") if split in splits]
    in_order = dict.fromkeys([*usual, *splits])
    content: dict[str, Any] = {split: f"images/{split}" for split in in_order}
    content["nc"] = len(dataset.classes)
    content["names"] = dict(enumerate(dataset.classes))
    content.update({key: dataset.extra[key] for key in ("roboflow", "license") if key in dataset.extra})
    return yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=10_000)


def _rows(image: AnnotatedImage, ids: Mapping[str, int], tolerance: float, losses: AnnotationReport) -> str:
    mixed = any(raw.rle is not None or raw.polygons is not None for raw in image.annotations)
    rows = []
    for raw in image.annotations:
        losses.read += 1
        tell_fields(raw.extra, "YOLO", raw.place, losses)
        number = class_id(raw, ids)
        if raw.iscrowd:
            losses.add(
                "lost", "it is a region of uncounted objects (crowd), which YOLO has no place for", raw.place
            )
            continue
        if raw.rle is None and raw.polygons is None:
            text = _box(raw, image.height, image.width, mixed, losses)
        else:
            text = _outline(raw, image.height, image.width, tolerance, losses)
        if text is not None:
            rows.append(f"{number} {text}\n")
    return "".join(rows)


def _box(raw: RawAnnotation, height: int, width: int, mixed: bool, losses: AnnotationReport) -> str | None:
    corners = np.asarray(raw.bbox if raw.bbox is not None else [], dtype=np.float64)
    if corners.shape != (4,) or not np.isfinite(corners).all():
        losses.add("lost", "it has neither outline nor box", raw.place)
        return None
    size = np.array([width, height], dtype=np.float64)
    low, high = (np.clip(corner, 0, size) for corner in (corners[:2], corners[2:]))
    if not (high > low).all():
        losses.add("lost", "its box lies outside the image or has no area", raw.place)
        return None
    reason = "it has no outline and is written as a box"
    detail = f"{reason}; Ultralytics misreads boxes among outlines" if mixed else None
    losses.add("changed", reason, raw.place, detail)
    return _as_text(np.concatenate([(low + high) / 2 / size, (high - low) / size]))


def _outline(
    raw: RawAnnotation, height: int, width: int, tolerance: float, losses: AnnotationReport
) -> str | None:
    if raw.rle is not None:
        rle = checked_rle(raw, height, width)
        tell_box(raw, rle, losses)
        return _traced(rle, (height, width), tolerance, raw.place, losses)
    parts = parts_inside(raw, height, width, losses)
    if not parts:
        return None
    drawn = mask_util.frPyObjects([outlines.flat(part) for part in parts], height, width)
    whole = mask_util.merge(drawn)
    tell_box(raw, parts, losses)
    ring = joined(parts)
    scale = np.array([width, height], dtype=np.float64)
    for text in (_as_text(_shares_above(ring, scale)), _as_exact_text(ring, scale)):
        if _same(text, whole, scale):
            return text
    if mask_util.area(whole) == 0:
        return text
    reason = "its parts overlap" if _overlap(drawn, whole) else "its corners lie between two pixels"
    losses.add("changed", f"{reason}, so it was traced along the edges of its pixels", raw.place)
    return _traced(whole, (height, width), 0.0, raw.place, losses)


def _traced(
    rle: dict[str, Any], size: tuple[int, int], tolerance: float, place: str, losses: AnnotationReport
) -> str | None:
    rings = mask_outlines(rle)
    if not rings:
        losses.add("lost", "its mask has no pixel", place)
        return None
    if tolerance > 0:
        losses.add("changed", f"its outline was simplified by up to {tolerance:g} px", place)
    scale = np.array([size[1], size[0]], dtype=np.float64)
    return _as_text(_shares_above(joined(simplify(rings, tolerance)), scale))


def _overlap(parts: Sequence[dict[str, Any]], whole: dict[str, Any]) -> bool:
    return int(np.sum(mask_util.area(parts))) > int(mask_util.area(whole))


def _same(text: str, whole: dict[str, Any], scale: np.ndarray) -> bool:
    """Whether an outline that was written draws a mask when it is read."""
    points = np.array(text.split(), dtype=np.float64).reshape(-1, 2) * scale
    (again,) = mask_util.frPyObjects([outlines.flat(points)], int(scale[1]), int(scale[0]))
    return same_mask(again, whole)


def _shares_above(points: np.ndarray, scale: np.ndarray) -> np.ndarray:
    # Never a little less: COCO rounds fifths of pixels half up, and many corners lie on such halves.
    return np.minimum(np.ceil(points / scale * _SHARES) / _SHARES, 1.0)


def _as_text(shares: np.ndarray) -> str:
    texts = (f"{value:.10f}".rstrip("0").rstrip(".") for value in shares.reshape(-1).tolist())
    return " ".join(texts)


def _as_exact_text(points: np.ndarray, scale: np.ndarray) -> str:
    """All digits, and read again not less than it was."""
    shares = points / scale
    shares = np.where(shares * scale < points, np.nextafter(shares, np.inf), shares)
    return " ".join(map(repr, shares.reshape(-1).tolist()))
