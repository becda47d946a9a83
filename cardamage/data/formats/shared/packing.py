"""Images as bytes, in two parts: what is asked for often, and the outlines, which are unpacked on demand."""

from __future__ import annotations

import io
import pickle
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from ....utils.heap import without_collection
from ...annotations.checks import RawAnnotation
from ..dataset import AnnotatedImage

__all__ = ["KeptAnnotations", "Packed", "labels_of", "pack", "plain_loads", "unpack"]


class Packed(NamedTuple):
    """Some images as bytes.

    Attributes:
        light: names, sizes, labels, prepared texts.
        outlines: the annotations.
    """

    light: bytes
    outlines: bytes


class KeptAnnotations(Sequence[RawAnnotation]):
    """Annotations of an image, which come from the disk when the first one is asked for.

    Attributes:
        labels: of each annotation.
        texts: what a target writes of each, where that was prepared.

    Args:
        load: gives the annotations of some images.
        number: of this image among them.
    """

    __slots__ = ("_load", "_number", "labels", "texts")

    def __init__(
        self,
        labels: Sequence[str],
        texts: Sequence[str] | None,
        load: Callable[[], Sequence[Sequence[RawAnnotation]]],
        number: int = 0,
    ) -> None:
        self.labels = labels
        self.texts = texts
        self._load = load
        self._number = number

    @classmethod
    def of(cls, raws: Sequence[RawAnnotation], texts: Sequence[str] | None = None) -> KeptAnnotations:
        """Wrap annotations that are in memory."""
        return cls([raw.label for raw in raws], texts, lambda: [raws])

    def renamed(self, names: dict[str, str]) -> KeptAnnotations:
        """Return the same annotations with other labels, new ones by old ones."""
        labels = [names.get(label, label) for label in self.labels]
        return KeptAnnotations(labels, self.texts, self._load, self._number)

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: Any) -> Any:
        return list(self)[index]

    def __iter__(self) -> Iterator[RawAnnotation]:
        for raw, label in zip(self._load()[self._number], self.labels, strict=True):
            yield raw if raw.label == label else replace(raw, label=label)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and list(self) == list(other)

    def __repr__(self) -> str:
        return repr(list(self))


def labels_of(annotations: Sequence[RawAnnotation]) -> Sequence[str]:
    """Return the label of each annotation, without reading outlines for that."""
    if isinstance(annotations, KeptAnnotations):
        return annotations.labels
    return [raw.label for raw in annotations]


def pack(images: Sequence[AnnotatedImage]) -> Packed:
    """Turn images into bytes. Their ``extra`` may hold what JSON can hold."""
    points: list[np.ndarray] = []
    light, rows = [], []
    for image in images:
        kept = image.annotations
        texts = kept.texts if isinstance(kept, KeptAnnotations) else None
        head = (image.name, image.source, image.height, image.width, image.embedded, image.split)
        light.append((*head, image.extra, labels_of(kept), texts))
        rows.append([_packed(raw, points) for raw in kept])
    flat = np.concatenate(points).tobytes() if points else b""
    return Packed(
        pickle.dumps(light, pickle.HIGHEST_PROTOCOL), pickle.dumps((rows, flat), pickle.HIGHEST_PROTOCOL)
    )


def unpack(light: bytes, outlines: Callable[[], bytes]) -> list[AnnotatedImage]:
    """Turn what :func:`pack` returned back into images. No code is run, whatever the bytes hold.

    Args:
        light: as packed.
        outlines: gives the other part; called once, when an annotation is asked for.

    Raises:
        pickle.UnpicklingError: for other bytes.
    """
    load = _Outlines(outlines)
    return [
        AnnotatedImage(
            name, source, height, width, KeptAnnotations(labels, texts, load, number), embedded, split, extra
        )
        for number, (name, source, height, width, embedded, split, extra, labels, texts) in enumerate(
            plain_loads(light)
        )
    ]


def plain_loads(data: bytes) -> Any:
    """Load a pickle of numbers, texts, lists, tuples and dicts.

    Raises:
        pickle.UnpicklingError: for one that names anything else.
    """
    with without_collection():
        return _PlainUnpickler(io.BytesIO(data)).load()


class _Outlines:
    """The annotations of a pack, unpacked once."""

    def __init__(self, read: Callable[[], bytes]) -> None:
        self._read = read
        self._found: list[list[RawAnnotation]] | None = None

    def __call__(self) -> list[list[RawAnnotation]]:
        if self._found is None:
            with without_collection():
                self._found = _unpacked(*plain_loads(self._read()))
        return self._found


def _unpacked(rows: list[Any], flat: bytes) -> list[list[RawAnnotation]]:
    points = np.frombuffer(bytearray(flat), dtype=np.float64).reshape(-1, 2)
    found, at = [], 0
    for row in rows:
        annotations = []
        for place, counts, polygons, *rest in row:
            if counts is not None:
                polygons = []
                for count in counts:
                    polygons.append(points[at : at + count])
                    at += count
            annotations.append(RawAnnotation(place, polygons, *rest))
        found.append(annotations)
    return found


def _packed(raw: RawAnnotation, points: list[np.ndarray]) -> tuple[Any, ...]:
    """An annotation without its outline, which goes to `points` where it is arrays of points."""
    polygons, counts = raw.polygons, None
    if polygons is not None and all(type(p) is np.ndarray and p.shape[1:] == (2,) for p in polygons):
        counts = [len(polygon) for polygon in polygons]
        points += polygons
        polygons = None
    return raw.place, counts, polygons, raw.rle, raw.bbox, raw.iscrowd, raw.extra, raw.label


class _PlainUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        """Refuse everything but numbers, texts, lists and dicts."""
        raise pickle.UnpicklingError(f"{module}.{name} has no place among annotations")
