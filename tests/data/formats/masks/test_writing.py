"""Mask PNGs written: what is read back, and what has no place in them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pycocotools.mask as mask_util
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cardamage.data.annotations.checks import RawAnnotation
from cardamage.data.annotations.report import AnnotationReport
from cardamage.data.formats.dataset import AnnotatedDataset, AnnotatedImage
from cardamage.data.formats.registry import (
    WriteOptions,
    write_annotations,
)
from tests.support.drawn_masks import drawn, text_rle
from tests.support.mask_folders import SIZE, block, found, photo, read

TRIANGLE = [[2, 2], [12, 2], [12, 12]]


def dataset_of(folder: Path, *annotations: RawAnnotation, **image: Any) -> AnnotatedDataset:
    source = photo(folder, "source/a.jpg")
    entry = AnnotatedImage("a.jpg", str(source), *SIZE, list(annotations), **image)
    return AnnotatedDataset("source", "coco", ["dent", "scratch"], [entry])


def again(
    dataset: AnnotatedDataset, folder: Path, **options: Any
) -> tuple[AnnotatedDataset, AnnotationReport]:
    losses = AnnotationReport("x")
    write_annotations(dataset, folder, "masks", WriteOptions(**options), losses)
    return read(folder)[0], losses


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 2**32 - 1))
def test_single_objects_come_back_exactly(tmp_path_factory: pytest.TempPathFactory, seed: int) -> None:
    folder = tmp_path_factory.mktemp("set")
    random = np.random.default_rng(seed)
    raws = []
    for number in range(int(random.integers(1, 13))):
        label = ["dent", "scratch"][number % 2]
        if random.random() < 0.5:
            raws.append(RawAnnotation("x", rle=text_rle(random.random(SIZE) < 0.3), label=label))
        else:
            raws.append(RawAnnotation("x", [random.uniform(0, 20, (5, 2)) for _ in range(2)], label=label))
    dataset, losses = again(dataset_of(folder, *raws, split="train"), folder / "masks")
    expected = [(r.label, r.rle or text_rle(drawn(r.polygons or [], *SIZE))) for r in raws]
    (image,) = dataset.images
    assert image.split == "train"
    assert [(a.label, a.rle) for a in image.annotations] == [(n, m) for n, m in expected if mask_util.area(m)]
    assert {f.reason for f in losses.findings} <= {"its mask has no pixel"}


NAMES = [
    "a/b",
    "..",
    "50%",
    "%41",
    "x_1",
    "1",
    "Dent",
    "dent",
    "é ß",
    "x" * 300,
    "y" * 300,
    "a:b?*",
    "background",
]


def test_any_class_name_comes_back(tmp_path: Path) -> None:
    raws = [RawAnnotation("x", [TRIANGLE], label=name) for name in NAMES]
    dataset = dataset_of(tmp_path, *raws)
    dataset.classes = NAMES
    back, losses = again(dataset, tmp_path / "masks")
    assert [raw.label for image in back.images for raw in image.annotations] == NAMES
    assert back.classes == NAMES
    assert losses.findings == []


def test_what_has_no_place_is_listed(tmp_path: Path) -> None:
    raws = [
        RawAnnotation("box", bbox=(1, 1, 5, 5), label="dent"),
        RawAnnotation("crowd", [TRIANGLE], iscrowd=1, label="dent"),
        RawAnnotation("one", [TRIANGLE], label="dent", extra={"score": 0.5, "flags": {}}),
    ]
    dataset = dataset_of(tmp_path, *raws)
    dataset.classes = ["dent", "two\nlines"]
    back, losses = again(dataset, tmp_path / "masks")
    assert [f.sentence for f in losses.findings] == [
        "box: lost, it has no outline, so there is no mask to draw.",
        "crowd: lost, it is a region of uncounted objects (crowd), which masks have no place for.",
        "one: lost, a folder of masks has no place for its 'score'.",
        "source: changed, 'two\\nlines' is 'two lines' now.",
    ]
    assert losses.read == 3
    assert [a.label for image in back.images for a in image.annotations] == ["dent"]


@pytest.mark.parametrize("count", [2, 300])
def test_index_masks_come_back_where_nothing_touches(tmp_path: Path, count: int) -> None:
    names = [f"class {i}" for i in range(count)]
    raws = [
        RawAnnotation("x", rle=text_rle(block((3 * i, 2, 3 * i + 2, 9, 1))), label=names[-1 - i])
        for i in range(2)
    ]
    dataset = dataset_of(tmp_path, *raws)
    dataset.classes = names
    back, losses = again(dataset, tmp_path / "masks", masks="index")
    assert losses.findings == []
    assert back.classes == names
    assert sorted(found(back)) == sorted((r.label, mask_util.toBbox(r.rle).tolist()) for r in raws)


def test_what_index_masks_lose_is_listed(tmp_path: Path) -> None:
    left, right = block((1, 1, 5, 5, 1)), block((5, 1, 9, 5, 1))
    raws = [RawAnnotation("x", rle=text_rle(mask), label="dent") for mask in (left, right)]
    _, losses = again(dataset_of(tmp_path, *raws), tmp_path / "touch", masks="index")
    assert [f.sentence for f in losses.findings] == ["a.jpg: lost, its 2 objects are 1 regions."]
    raws[1].rle = text_rle(block((4, 1, 9, 5, 1)))
    _, losses = again(dataset_of(tmp_path, *raws), tmp_path / "overlap", masks="index")
    assert [f.sentence for f in losses.findings] == [
        "a.jpg: lost, 4 pixels belong to several objects, and keep the class of the last one only."
    ]
