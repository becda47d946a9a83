"""Annotated images in memory, for writers of all formats."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from PIL import Image

from cardamage.data.annotations.checks import RawAnnotation
from cardamage.data.formats.dataset import AnnotatedImage

SIZE = (40, 50)
SQUARE = [10, 10, 20, 10, 20, 20, 10, 20]


def write_picture(path: Path, size: tuple[int, int] = SIZE) -> str:
    """Write a black picture of (height, width), and its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size[::-1]).save(path)
    return str(path)


def image_of(folder: Path, *annotations: RawAnnotation, name: str = "a.jpg", **fields: Any) -> AnnotatedImage:
    """An image with annotations; its picture is written."""
    return AnnotatedImage(name, write_picture(folder / name), *SIZE, list(annotations), **fields)


def square(label: str = "dent", **fields: Any) -> RawAnnotation:
    """An annotation with one square, unless the fields say otherwise."""
    return RawAnnotation("here", **{"polygons": [SQUARE], "label": label, **fields})


class Endless:
    """Images that are made when they are asked for, of two kilobytes each."""

    def __init__(self, source: str, count: int) -> None:
        self.source, self.count = source, count

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Iterator[AnnotatedImage]:
        for number in range(self.count):
            yield AnnotatedImage(f"{number}", self.source, *SIZE, [square(extra={"text": "x" * 2000})])


def growth(use: Callable[[int], object], few: int, many: int) -> int:
    """By how many bytes the peak of Python's memory is higher for many than for few."""
    peaks = []
    for count in (few, many):
        tracemalloc.start()
        use(count)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    return peaks[1] - peaks[0]
