from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pycocotools.mask as mask_util
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from cardamage.data.annotations.checks import RawAnnotation
from cardamage.data.annotations.report import AnnotationReport
from cardamage.data.formats.dataset import AnnotatedDataset, AnnotatedImage
from cardamage.data.formats.registry import (
    ReadOptions,
    WriteOptions,
    read_annotations,
    recognize,
    write_annotations,
)
from cardamage.errors import DataError
from tests.support.annotated_images import write_picture
from tests.support.drawn_masks import drawn, text_rle

SIZE = (40, 60)


def photo(folder: Path, name: str = "a.jpg") -> Path:
    return Path(write_picture(folder / name, SIZE))


def dataset_of(folder: Path, *annotations: RawAnnotation, **image: Any) -> AnnotatedDataset:
    source = photo(folder / "source")
    entry = AnnotatedImage("a.jpg", str(source), *SIZE, list(annotations), **image)
    return AnnotatedDataset("source", "coco", ["dent", "scratch"], [entry])


def again(
    dataset: AnnotatedDataset, folder: Path, **options: Any
) -> tuple[list[AnnotatedImage], AnnotationReport]:
    losses = AnnotationReport("x")
    write_annotations(dataset, folder, "yolo", WriteOptions(**options), losses)
    read = read_annotations(folder, "yolo", ReadOptions(), AnnotationReport("y"))
    assert read.classes == dataset.classes
    return list(read.images), losses


def mask_of(raw: RawAnnotation, size: tuple[int, int] = SIZE) -> np.ndarray:
    if raw.rle is not None:
        return mask_util.decode(raw.rle) != 0
    return drawn(raw.polygons or [], *size)


def sentences(report: AnnotationReport) -> list[tuple[str, str]]:
    return [(finding.verdict, finding.reason) for finding in report.findings]


# Tenths of a pixel lie on the halves of COCO's fifths, where a last digit decides.
numbers = st.one_of(st.integers(0, 400).map(lambda n: n / 10), st.floats(0, 40, allow_nan=False))
parts = st.lists(st.lists(st.tuples(numbers, numbers), min_size=3, max_size=8), min_size=1, max_size=4)


@settings(deadline=None, max_examples=150)
@given(parts)
def test_outlines_draw_the_same_mask_again(
    tmp_path_factory: pytest.TempPathFactory, shape: list[list[tuple[float, float]]]
) -> None:
    folder = tmp_path_factory.mktemp("set")
    raw = RawAnnotation("x", [np.array(part) for part in shape], label="scratch")
    (image,), losses = again(dataset_of(folder, raw), folder / "yolo")
    expected = mask_of(raw)
    if not image.annotations:
        assert ("lost", "a part of its outline has fewer than 3 points in the image") in sentences(losses)
        assert not expected.any()
        return
    (read,) = image.annotations
    assert read.label == "scratch"
    np.testing.assert_array_equal(mask_of(read), expected)


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 2**32 - 1), st.floats(0.05, 0.95))
def test_masks_with_holes_come_back_exactly(
    tmp_path_factory: pytest.TempPathFactory, seed: int, share: float
) -> None:
    folder = tmp_path_factory.mktemp("set")
    mask = np.random.default_rng(seed).random(SIZE) < share
    raw = RawAnnotation("x", rle=text_rle(mask), label="dent")
    (image,), losses = again(dataset_of(folder, raw), folder / "yolo")
    np.testing.assert_array_equal(mask_of(image.annotations[0]), mask)
    assert sentences(losses) == []


@pytest.mark.parametrize(
    ("splits", "said"), [(["train", "valid"], None), ([""], "no val,"), (["test"], "no train and no val,")]
)
def test_parts_that_ultralytics_asks_for(tmp_path: Path, splits: list[str], said: str | None) -> None:
    images = [image for split in splits for image in dataset_of(tmp_path / split, split=split).images]
    dataset = AnnotatedDataset("x", "coco", ["dent", "scratch"], images)
    notes = write_annotations(dataset, tmp_path / "yolo", "yolo", WriteOptions(), AnnotationReport("x")).notes
    assert [said in note for note in notes] == ([True] if said else [])


def test_the_files_by_hand(tmp_path: Path) -> None:
    left, right = [[6, 4], [12, 4], [12, 8]], [[15, 4], [18, 4], [18, 8], [15, 8]]
    raws = [
        RawAnnotation("x", [left, right], label="scratch"),
        RawAnnotation("x", bbox=(15, 10, 45, 30), label="dent"),
    ]
    dataset = dataset_of(tmp_path, *raws, split="valid")
    written = write_annotations(dataset, tmp_path / "yolo", "yolo", WriteOptions(), AnnotationReport("x"))
    assert written.files == [tmp_path / "yolo/data.yaml"]
    assert written.dataset == {"val": f"yolo:{tmp_path}/yolo/data.yaml#val"}
    assert yaml.safe_load(written.files[0].read_text()) == {
        "val": "images/val",
        "nc": 2,
        "names": {0: "dent", 1: "scratch"},
    }
    outline, box = (tmp_path / "yolo/labels/val/a.txt").read_text().splitlines()
    # Over from (12, 4) to (15, 4), around, and back.
    expected = [[12, 4], [15, 4], [18, 4], [18, 8], [15, 8], [15, 4], [12, 4], [12, 8], [6, 4]]
    found = np.array(outline.split()[1:], dtype=float).reshape(-1, 2) * SIZE[::-1]
    assert outline.startswith("1 ")
    np.testing.assert_allclose(found, expected, atol=1e-6)
    assert box == "0 0.5 0.5 0.5 0.5"
    assert (tmp_path / "yolo/images/val/a.jpg").read_bytes() == (tmp_path / "source/a.jpg").read_bytes()
    assert recognize(tmp_path / "yolo") == recognize(written.files[0]) == "yolo"


def test_parts_come_back_and_a_hole_stays_one(tmp_path: Path) -> None:
    left, right = [[6, 4], [12, 4], [12, 8]], [[15, 4], [18, 4], [18, 8], [15, 8]]
    mask = np.zeros(SIZE, dtype=bool)
    mask[5:20, 5:20], mask[9:12, 9:12], mask[30:33, 40:50] = True, False, True
    raws = [
        RawAnnotation("x", [left, right], label="dent"),
        RawAnnotation("x", rle=text_rle(mask), label="dent"),
    ]
    (image,), _ = again(dataset_of(tmp_path, *raws), tmp_path / "yolo")
    parts, holed = image.annotations
    found = sorted(sorted(map(tuple, np.round(part, 6).tolist())) for part in parts.polygons or [])
    assert found == [sorted(map(tuple, left)), sorted(map(tuple, right))]
    assert sorted(map(len, holed.polygons or [])) == [4, 4 + 4 + 3]
    np.testing.assert_array_equal(mask_of(holed), mask)


def test_what_has_no_place_is_listed(tmp_path: Path) -> None:
    triangle = [[10, 10], [20, 10], [20, 20]]
    raws = [
        RawAnnotation("crowd", [triangle], iscrowd=1, label="dent"),
        RawAnnotation(
            "one", [triangle], label="dent", extra={"score": 0.5, "flags": {"old": True}, "group_id": None}
        ),
        RawAnnotation("box", bbox=(1, 1, 70, 9), label="dent"),
        RawAnnotation("nothing", label="dent"),
        RawAnnotation("point", [[[1, 1], [2, 2]]], label="dent"),
        RawAnnotation("nan", [[[1, 1], [2, 2], [float("nan"), 1]]], label="dent"),
        RawAnnotation("empty", rle=text_rle(np.zeros(SIZE, dtype=bool)), label="dent"),
        RawAnnotation("past", [[[50, 10], [70, 10], [70, 20]]], label="dent"),
        RawAnnotation("over", [triangle, [[11, 11], [19, 11], [19, 19]]], label="dent"),
    ]
    dataset = dataset_of(tmp_path, *raws, extra={"id": 7, "date_captured": "today"})
    dataset.extra = {"info": {"year": 1}, "licenses": [], "category_ids": [1]}
    (image,), losses = again(dataset, tmp_path / "yolo")
    assert [finding.sentence for finding in losses.findings] == [
        "source: lost, YOLO has no place for its 'info'.",
        "a.jpg: lost, YOLO has no place for its 'date_captured'.",
        "crowd: lost, it is a region of uncounted objects (crowd), which YOLO has no place for.",
        "one: lost, YOLO has no place for its 'score'.",
        "one: lost, YOLO has no place for its 'flags'.",
        "box: changed, it has no outline and is written as a box; Ultralytics misreads boxes among outlines.",
        "nothing: lost, it has neither outline nor box.",
        "point: lost, a part of its outline has fewer than 3 points in the image.",
        "nan: lost, a part of its outline is not a list of x, y numbers.",
        "empty: lost, its mask has no pixel.",
        "past: changed, it reaches past the edge of the image and is cut there.",
        "over: changed, its parts overlap, so it was traced along the edges of its pixels.",
    ]
    assert losses.read == 9
    one, box, past, over = image.annotations
    assert box.bbox == pytest.approx((1, 1, 60, 9), abs=1e-6)
    assert np.max(past.polygons) <= 60
    np.testing.assert_array_equal(mask_of(over), mask_of(raws[-1]))
    np.testing.assert_array_equal(mask_of(one), mask_of(raws[1]))


def test_simplified_masks(tmp_path: Path) -> None:
    y, x = np.ogrid[: SIZE[0], : SIZE[1]]
    mask = (y - 20) ** 2 + (x - 30) ** 2 < 15**2
    raw = RawAnnotation("x", rle=text_rle(mask), label="dent")
    (exact,), _ = again(dataset_of(tmp_path, raw), tmp_path / "exact")
    (rough,), losses = again(dataset_of(tmp_path, raw), tmp_path / "rough", tolerance=1.0)
    assert len((rough.annotations[0].polygons or [])[0]) < len((exact.annotations[0].polygons or [])[0]) / 2
    assert sentences(losses) == [("changed", "its outline was simplified by up to 1 px")]


def test_names_that_would_meet_or_mislead(tmp_path: Path) -> None:
    names = ["images/a.jpg", "train/images/a.png", "x/images/a.jpg", "train/b.jpg"]
    images = [
        AnnotatedImage(
            name,
            str(photo(tmp_path, name)),
            *SIZE,
            [RawAnnotation("x", bbox=(0, 0, 10 + i, 10), label="dent")],
        )
        for i, name in enumerate(names)
    ]
    dataset = AnnotatedDataset("source", "coco", ["dent"], images)
    found, losses = again(dataset, tmp_path / "yolo")
    assert {image.name: round((image.annotations[0].bbox or [])[2]) for image in found} == {
        "images/train/a.jpg": 10,
        "images/train/a_2.png": 11,
        "images/train/b.jpg": 13,
        "images/train/x/a.jpg": 12,
    }
    assert [f.sentence for f in losses.findings if "picture" in f.reason] == [
        "train/images/a.png: changed, it is now train/a_2.png."
    ]


def test_pictures_that_readers_would_not_see_are_listed(tmp_path: Path) -> None:
    for name in ("a.gif", "b.jfif", "c"):
        dataset = dataset_of(tmp_path)
        dataset.images[0].name = name  # type: ignore[index]
        path = tmp_path / name
        Image.new("RGB", SIZE[::-1]).save(path, format="GIF" if name == "a.gif" else "JPEG")
        dataset.images[0].source = str(path)  # type: ignore[index]
        losses = AnnotationReport("x")
        write_annotations(dataset, tmp_path / f"yolo {name}", "yolo", WriteOptions(), losses)
        text = "lost, readers don't see pictures whose names end in {}; save it as JPEG or PNG."
        expected = {
            "a.gif": f"a.gif: {text.format('.gif')}",
            "b.jfif": f"b.jfif: {text.format('.jfif')}",
            "c": "c: changed, it is now train/c.jpg.",
        }
        assert [finding.sentence for finding in losses.findings] == [expected[name]]


@pytest.mark.parametrize("split", ["", "train", "val", "test", "fold 1", "..", "a/b"])
def test_splits(tmp_path: Path, split: str) -> None:
    dataset = dataset_of(tmp_path, split=split)
    (image,), _ = again(dataset, tmp_path / "yolo")
    assert image.split == {"": "train", "..": "train", "a/b": "a_b"}.get(split, split)


def test_names_of_classes_survive(tmp_path: Path) -> None:
    dataset = dataset_of(tmp_path)
    dataset.classes = ["no", "007", "1.0", "null", "~", "a: b", "éß", "x " * 100 + "x", "'", '"', "# a"]
    again(dataset, tmp_path / "yolo")


def test_unknown_label_is_refused(tmp_path: Path) -> None:
    dataset = dataset_of(tmp_path, RawAnnotation("file, shape 1", bbox=(0, 0, 1, 1), label="dnet"))
    with pytest.raises(
        DataError, match="file, shape 1: the label is not among the classes; did you mean dent"
    ):
        write_annotations(dataset, tmp_path / "yolo", "yolo", WriteOptions(), AnnotationReport("x"))
