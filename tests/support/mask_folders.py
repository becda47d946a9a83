"""Folders of photos and masks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pycocotools.mask as mask_util

from cardamage.data.annotations.report import AnnotationReport
from cardamage.data.formats.dataset import AnnotatedDataset
from cardamage.data.formats.registry import ReadOptions, read_annotations
from tests.support.annotated_images import write_picture

SIZE = (20, 30)


def photo(folder: Path, name: str = "images/a.jpg", size: tuple[int, int] = SIZE) -> Path:
    """A black photo in a folder."""
    return Path(write_picture(folder / name, size))


def block(*boxes: tuple[int, int, int, int, int]) -> np.ndarray:
    """Values of a mask: boxes x0, y0, x1, y1 of a value each."""
    values = np.zeros(SIZE, dtype=np.uint8)
    for x0, y0, x1, y1, value in boxes:
        values[y0:y1, x0:x1] = value
    return values


def read(folder: Path, **options: Any) -> tuple[AnnotatedDataset, AnnotationReport]:
    """A folder of masks read, and what was found in it."""
    report = AnnotationReport("x")
    return read_annotations(folder, "masks", ReadOptions(**options), report), report


def found(dataset: AnnotatedDataset) -> list[tuple[str, list[float]]]:
    """Label and box x, y, width, height of each object."""
    return [
        (raw.label, mask_util.toBbox(raw.rle).tolist())
        for image in dataset.images
        for raw in image.annotations
    ]
