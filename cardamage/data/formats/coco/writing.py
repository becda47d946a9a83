"""Annotations in memory written as COCO files: to the disk as they come, whatever their number."""

from __future__ import annotations

import json
import re
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Any

import numpy as np
import pycocotools.mask as mask_util

from ....catalog.coco_json import mask_area
from ....errors import TrainingError
from ....utils.files import atomic_write, describe_write_error
from ...annotations import outlines
from ...annotations.checks import RawAnnotation, checked_rle
from ...annotations.report import AnnotationReport
from ..dataset import AnnotatedDataset, AnnotatedImage, class_id
from ..registry import WriteOptions, Written
from ..shared.pictures import PicturePlacer
from ..shared.shared_root import name_below, shared_root

__all__ = ["write"]

# Fields of the dataset that readers keep for themselves, or that the file has its own of.
_NOT_WRITTEN = frozenset({"category_ids", "categories", "splits", "images", "annotations"})
# As many decimals survive the way from x, y, width, height to two corners and back.
_DECIMALS = 9
_FARTHEST = 1e9
_ENCODER = json.JSONEncoder(allow_nan=False)


def write(
    dataset: AnnotatedDataset, folder: Path, options: WriteOptions, losses: AnnotationReport
) -> Written:
    """Write ``annotations/<split>.json``, or ``annotations/all.json`` of what has no splits.

    Ids are from 1, categories in the order of the classes, areas those of the masks. Outlines are written as
    they are, also past the edge; run lengths compressed. Further fields of the dataset, its images and its
    annotations are written beside COCO's own.

    Args:
        dataset: what to write.
        folder: the target; pictures that are copied or linked go to ``images`` in it.
        options: `pictures` counts. Those that are kept are named relative to the folder that holds them all.
        losses: is told of outlines that COCO can't hold.

    Raises:
        DataError: for a label that is not among the classes, a damaged mask, or a picture that can't
            be copied.
        TrainingError: where the folder can't be written.
    """
    root, how = (folder / "images", options.pictures)
    if how == "keep":
        kept = shared_root(dataset.images)
        root, how = (root, "copy") if kept is None else (kept, how)
    placer = PicturePlacer(folder / "images", how)
    written = Written()
    try:
        with ExitStack() as stack:
            parts: dict[str, _Part] = {}
            for image in dataset.images:
                name = re.sub(r"[/\\\0]", "_", image.split) or "all"
                if name not in parts:
                    written.files.append(folder / "annotations" / f"{name}.json")
                    parts[name] = _Part(
                        written.files[-1], _head(dataset, image.split, losses), dataset.classes, stack
                    )
                file_name = name_below(image.source, root) if how == "keep" else placer.place(image).name
                parts[name].add(image, file_name, losses)
            if not parts:
                written.files.append(folder / "annotations" / "all.json")
                parts["all"] = _Part(written.files[-1], _head(dataset, "", losses), dataset.classes, stack)
            for part in parts.values():
                part.finish()
    except OSError as error:
        raise TrainingError(describe_write_error(folder, error, "the output folder")) from error
    written.dataset = {name: f"coco:{file}@{root}" for name, file in zip(parts, written.files, strict=True)}
    return written


class _Part:
    """One COCO file: images go into it, annotations beside it until the images are all there."""

    def __init__(self, path: Path, head: Mapping[str, Any], classes: Sequence[str], stack: ExitStack) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file: IO[str] = stack.enter_context(atomic_write(path))
        self._later: IO[str] = stack.enter_context(
            tempfile.TemporaryFile("w+", dir=path.parent, encoding="utf-8")
        )
        self._file.write(json.dumps(head)[:-1] + (", " if head else "") + '"images": [')
        self._ids = {name: number for number, name in enumerate(classes, start=1)}
        self._images = self._annotations = 0

    def add(self, image: AnnotatedImage, file_name: str, losses: AnnotationReport) -> None:
        """Write an image at once, and its annotations where they wait for the last image."""
        record = {
            "id": self._images + 1,
            "file_name": file_name,
            "height": image.height,
            "width": image.width,
        }
        self._file.write(",\n" if self._images else "\n")
        self._images += 1
        self._file.write(_as_json(record, image.extra, image.name, losses))
        for raw in image.annotations:
            losses.read += 1
            shape = _shape(raw, image.height, image.width, losses)
            if shape is None:
                continue
            self._later.write(",\n" if self._annotations else "\n")
            self._annotations += 1
            head = {
                "id": self._annotations,
                "image_id": self._images,
                "category_id": class_id(raw, self._ids),
            }
            self._later.write(_as_json({**head, **shape}, raw.extra, raw.place, losses))

    def finish(self) -> None:
        self._file.write('\n], "annotations": [')
        self._later.seek(0)
        shutil.copyfileobj(self._later, self._file)
        self._file.write("\n]}\n")


def _head(dataset: AnnotatedDataset, split: str, losses: AnnotationReport) -> dict[str, Any]:
    fields = {"info": {"description": "Written by cardamage."}, **dataset.extra}
    fields.update(dataset.extra.get("splits", {}).get(split, {}))
    fields = {key: value for key, value in fields.items() if key not in _NOT_WRITTEN}
    known = dataset.extra.get("categories", {})
    categories = [
        {"id": number, "name": name, **known.get(name, {})}
        for number, name in enumerate(dataset.classes, start=1)
    ]
    head: dict[str, Any] = json.loads(_as_json({}, fields, dataset.source, losses))
    return {**head, "categories": categories}


def _shape(raw: RawAnnotation, height: int, width: int, losses: AnnotationReport) -> dict[str, Any] | None:
    """COCO's fields for an outline or box; None where there is neither."""
    box = _given_box(raw.bbox)
    segmentation: Any = []
    area = box[2] * box[3] if box else 0.0
    if raw.rle is not None:
        rle = checked_rle(raw, height, width)
        counts = rle["counts"]
        segmentation = {
            "size": [height, width],
            "counts": counts.decode("ascii") if isinstance(counts, bytes) else counts,
        }
        area = float(mask_util.area(rle))
        box = box or [float(v) for v in mask_util.toBbox(rle)]
    elif raw.polygons is not None:
        outline = _Outline(raw, height, width, losses)
        segmentation = outline.parts
        if segmentation:
            area = mask_area(outline.inside, height, width) if outline.inside else 0.0
            box = box or outline.box
        elif not raw.polygons:
            losses.add("lost" if box is None else "changed", "its outline has no points", raw.place)
    if box is None:
        if raw.polygons is None:
            losses.add("lost", "it has neither outline nor box", raw.place)
        return None
    return {"segmentation": segmentation, "bbox": box, "area": area, "iscrowd": raw.iscrowd}


def _given_box(corners: Any) -> list[float] | None:
    if corners is None or len(corners) != 4:
        return None
    x0, y0, x1, y1 = (float(v) for v in corners)
    box = [x0, y0, round(x1 - x0, _DECIMALS), round(y1 - y0, _DECIMALS)]
    return box if all(abs(v) <= _FARTHEST for v in box) else None


class _Outline:
    """An outline's parts as they are, those parts clipped to the image, and the box around these.

    What COCO can't hold is left out: it takes 4 numbers for a box, and fails on fewer. Areas need the clipped
    parts: pycocotools takes endless memory for what is far outside of the image.
    """

    def __init__(self, raw: RawAnnotation, height: int, width: int, losses: AnnotationReport) -> None:
        self.parts: list[list[float]] = []
        self.inside: list[list[float]] = []
        self._corners: list[tuple[float, float, float, float]] = []
        for polygon in raw.polygons or []:
            reason = self._take(polygon, height, width)
            if reason:
                losses.add("lost", reason, raw.place)

    @property
    def box(self) -> list[float]:
        """x, y, width and height around what is inside of the image; around all where nothing is."""
        found = self._corners or [_corners(np.asarray(p).reshape(-1, 2)) for p in self.parts]
        x0, y0 = min(c[0] for c in found), min(c[1] for c in found)
        x1, y1 = max(c[2] for c in found), max(c[3] for c in found)
        return [x0, y0, round(x1 - x0, _DECIMALS), round(y1 - y0, _DECIMALS)]

    def _take(self, polygon: Any, height: int, width: int) -> str | None:
        """Take in a part, or tell why not."""
        try:
            numbers = np.asarray(polygon, dtype=np.float64).reshape(-1)
        except (TypeError, ValueError, OverflowError):
            return "a part of its outline is not a list of x, y numbers"
        if len(numbers) % 2:
            return "a part of its outline has an odd count of numbers"
        if len(numbers) < 6:
            return "a part of its outline has fewer than 3 points"
        points = numbers.reshape(-1, 2)
        x0, y0, x1, y1 = corners = _corners(points)
        # Put so that it also refuses what is no number.
        if not (x0 >= -_FARTHEST and y0 >= -_FARTHEST and x1 <= _FARTHEST and y1 <= _FARTHEST):
            return "a part of its outline is not a list of x, y numbers"
        values: list[float] = numbers.tolist()
        if all(map(float.is_integer, values)):
            values = list(map(int, values))
        self.parts.append(values)
        if x0 >= 0 and y0 >= 0 and x1 <= width and y1 <= height:
            self.inside.append(values)
            self._corners.append(corners)
            return None
        clipped = outlines.clip(points, width, height)
        if len(clipped) >= 3:
            self.inside.append(outlines.flat(clipped))
            self._corners.append(_corners(clipped))
        return None


def _corners(points: np.ndarray) -> tuple[float, float, float, float]:
    (x0, y0), (x1, y1) = points.min(axis=0).tolist(), points.max(axis=0).tolist()
    return x0, y0, x1, y1


def _as_json(record: dict[str, Any], extra: Mapping[str, Any], place: str, losses: AnnotationReport) -> str:
    """A record and its further fields; those that JSON can't hold are told."""
    further = {key: value for key, value in extra.items() if key not in record}
    try:
        return _ENCODER.encode({**record, **further})
    except (TypeError, ValueError, RecursionError):
        pass
    for key, value in list(further.items()):
        try:
            _ENCODER.encode({key: value})
        except (TypeError, ValueError, RecursionError):
            del further[key]
            losses.add("lost", f"its field {key!r} is nothing that JSON can hold", place)
    return _ENCODER.encode({**record, **further})
