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

from ....errors import TrainingError
from ....utils.files import atomic_write, describe_write_error
from ....utils.heap import without_collection
from ...annotations.report import AnnotationReport
from ..dataset import AnnotatedDataset, AnnotatedImage, class_id
from ..pictures.placing import PicturePlacer
from ..registry import WriteOptions, Written
from ..shared.packing import KeptAnnotations
from ..shared.shared_root import NamesBelow, shared_root
from .text import annotation_text, as_json, image_text, with_ids

__all__ = ["write"]

# Fields of the dataset that readers keep for themselves, or that the file has its own of.
_NOT_WRITTEN = frozenset({"category_ids", "categories", "splits", "images", "annotations"})

# Images that are written together, and bytes that are copied at once.
_TOGETHER = 50
_COPIED = 1 << 18


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
        kept = dataset.picture_root or shared_root(dataset.images)
        root, how = (root, "copy") if kept is None else (kept, how)
    placer = PicturePlacer(folder / "images", how)
    try:
        with ExitStack() as stack, without_collection():
            parts = _Parts(dataset, folder, losses, stack)
            names = NamesBelow(root)
            for image in dataset.images:
                file_name = names(image.source) if how == "keep" else placer.place(image).name
                parts.of(image.split).add(image, file_name)
            parts.finish()
    except OSError as error:
        raise TrainingError(describe_write_error(folder, error, "the output folder")) from error
    datasets = {name: f"coco:{file}@{root}" for name, file in parts.files.items()}
    return Written(list(parts.files.values()), datasets)


class _Parts:
    """The COCO files of a dataset, one for each split, each begun with its first image."""

    def __init__(
        self, dataset: AnnotatedDataset, folder: Path, losses: AnnotationReport, stack: ExitStack
    ) -> None:
        self.files: dict[str, Path] = {}
        self._parts: dict[str, _Part] = {}
        self._by_split: dict[str, _Part] = {}
        self._dataset, self._folder, self._losses, self._stack = dataset, folder, losses, stack

    def of(self, split: str) -> _Part:
        found = self._by_split.get(split)
        if found is None:
            name = re.sub(r"[/\\\0]", "_", split) or "all"
            found = self._by_split[split] = self._parts.get(name) or self._begun(name, split)
        return found

    def _begun(self, name: str, split: str) -> _Part:
        path = self.files[name] = self._folder / "annotations" / f"{name}.json"
        head = _head(self._dataset, split, self._losses)
        part = self._parts[name] = _Part(path, head, self._dataset.classes, self._losses, self._stack)
        return part

    def finish(self) -> None:
        if not self._parts:
            self.of("")
        for part in self._parts.values():
            part.finish()


class _Part:
    """One COCO file: images go into it, annotations beside it until the images are all there."""

    def __init__(
        self,
        path: Path,
        head: Mapping[str, Any],
        classes: Sequence[str],
        losses: AnnotationReport,
        stack: ExitStack,
    ) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file: IO[bytes] = stack.enter_context(atomic_write(path, "wb", durable=False))
        self._later: IO[bytes] = stack.enter_context(tempfile.TemporaryFile(dir=path.parent))
        self._file.write((json.dumps(head)[:-1] + (", " if head else "") + '"images": [').encode())
        self._ids = {name: number for number, name in enumerate(classes, start=1)}
        self._losses = losses
        self._images = self._annotations = 0
        # What is to be written next, some images at once.
        self._records: list[str] = []
        self._lines: list[str] = []

    def add(self, image: AnnotatedImage, file_name: str) -> None:
        """Write an image, and its annotations where they wait for the last image."""
        self._images += 1
        self._records.append(image_text(image, self._images, file_name, self._losses))
        kept = image.annotations
        if isinstance(kept, KeptAnnotations) and kept.texts is not None:
            labels, texts = kept.labels, kept.texts
            self._losses.read += len(labels)
        else:
            labels, texts = _texts(image, self._losses)
        if not self._ids.keys() >= set(labels):
            class_id(next(raw for raw in kept if raw.label not in self._ids), self._ids)
        for label, text in zip(labels, texts, strict=True):
            self._annotations += 1
            self._lines.append(with_ids(text, self._annotations, self._images, self._ids[label]))
        if len(self._records) == _TOGETHER:
            self._flush()

    def _flush(self) -> None:
        for file, lines, total in (
            (self._file, self._records, self._images),
            (self._later, self._lines, self._annotations),
        ):
            if lines:
                start = "\n" if len(lines) == total else ",\n"
                file.write((start + ",\n".join(lines)).encode())
                lines.clear()

    def finish(self) -> None:
        self._flush()
        self._file.write(b'\n], "annotations": [')
        self._later.seek(0)
        shutil.copyfileobj(self._later, self._file, _COPIED)
        self._file.write(b"\n]}\n")


def _texts(image: AnnotatedImage, losses: AnnotationReport) -> tuple[list[str], list[str]]:
    """Labels and texts of the annotations that COCO can hold."""
    labels, texts = [], []
    losses.read += len(image.annotations)
    for raw in image.annotations:
        text = annotation_text(raw, image.height, image.width, losses)
        if text is not None:
            labels.append(raw.label)
            texts.append(text)
    return labels, texts


def _head(dataset: AnnotatedDataset, split: str, losses: AnnotationReport) -> dict[str, Any]:
    fields = {"info": {"description": "Written by cardamage."}, **dataset.extra}
    fields.update(dataset.extra.get("splits", {}).get(split, {}))
    fields = {key: value for key, value in fields.items() if key not in _NOT_WRITTEN}
    known = dataset.extra.get("categories", {})
    categories = [
        {"id": number, "name": name, **known.get(name, {})}
        for number, name in enumerate(dataset.classes, start=1)
    ]
    head: dict[str, Any] = json.loads(as_json({}, fields, dataset.source, losses))
    return {**head, "categories": categories}
