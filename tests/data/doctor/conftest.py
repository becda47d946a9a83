"""Small sets made here: a clean one, to be spoiled by each test."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from cardamage.data.doctor import find_all, read_sources
from cardamage.data.doctor.model import Hit

HEIGHT, WIDTH = 120, 160


@pytest.fixture
def tmp_path(tmp_path: Path) -> Path:
    """A folder with nothing beside it: the doctor looks there for pictures, and other tests leave some."""
    folder = tmp_path / "alone"
    folder.mkdir()
    return folder


def photo(seed: int, height: int = HEIGHT, width: int = WIDTH) -> np.ndarray:
    """Smooth as a photo is, another one for each seed."""
    small = np.random.default_rng(seed).integers(0, 256, (9, 12, 3), dtype=np.uint8)
    return cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC)


def pentagon(x: float, y: float, size: float = 30.0) -> list[float]:
    """No box, of area 0.9375 size**2, from x, y."""
    corners = [(0.0, 0.0), (0.5, 0.0), (1.0, 0.25), (1.0, 1.0), (0.0, 1.0)]
    return [v for dx, dy in corners for v in (x + dx * size, y + dy * size)]


def write_photo(path: Path, seed: int, **size: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), photo(seed, **size))
    return path


class CocoSet:
    """COCO files of a train and a val split, each of 6 photos with 2 objects of each of 2 classes.

    Attributes:
        folder: of the set.
        content: of the training file, to be spoiled.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.content = self._make("train", 0)
        self._write("val", self._make("val", 100))

    def _make(self, split: str, seed: int) -> dict[str, Any]:
        images, annotations = [], []
        for number in range(1, 7):
            name = f"car{number}.jpg"
            write_photo(self.folder / split / name, seed + number)
            images.append({"id": number, "file_name": name, "height": HEIGHT, "width": WIDTH})
            for index in range(4):
                outline = pentagon(5 + 37 * index + number, 10 + 6 * number)
                annotations.append(
                    {
                        "id": len(annotations) + 1,
                        "image_id": number,
                        "category_id": 1 + index % 2,
                        "segmentation": [outline],
                        "bbox": [min(outline[::2]), min(outline[1::2]), 30.0, 30.0],
                        "area": 0.9375 * 900,
                        "iscrowd": 0,
                    }
                )
        categories = [{"id": 1, "name": "dent"}, {"id": 2, "name": "scratch"}]
        return {"images": images, "annotations": annotations, "categories": categories}

    def _write(self, split: str, content: dict[str, Any]) -> None:
        (self.folder / split / "_annotations.coco.json").write_text(json.dumps(content), encoding="utf-8")

    @property
    def train(self) -> Path:
        return self.folder / "train"

    def save(self) -> Path:
        self._write("train", self.content)
        return self.folder


@pytest.fixture
def coco_set(tmp_path: Path) -> CocoSet:
    return CocoSet(tmp_path / "set")


@pytest.fixture
def codes() -> Callable[..., dict[str, list[Hit]]]:
    """Return a function from sources to the cases of each code."""

    def find(*sources: Path, **options: Any) -> dict[str, list[Hit]]:
        subject = read_sources(sources, **options)
        return {finding.check.code: finding.hits for finding in find_all(subject)}

    return find
