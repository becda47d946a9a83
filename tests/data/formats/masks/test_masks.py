from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pycocotools.mask as mask_util
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from cardamage.data.annotations.checks import RawAnnotation
from cardamage.data.annotations.report import AnnotationReport
from cardamage.data.formats.dataset import AnnotatedDataset, AnnotatedImage, to_dicts
from cardamage.data.formats.masks.pixels import regions, run_lengths
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

SIZE = (20, 30)
TRIANGLE = [[2, 2], [12, 2], [12, 12]]


def photo(folder: Path, name: str = "images/a.jpg", size: tuple[int, int] = SIZE) -> Path:
    return Path(write_picture(folder / name, size))


def png(path: Path, values: np.ndarray, mode: str | None = None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = Image.fromarray(values)
    if mode == "P":
        picture.putpalette([v for i in range(256) for v in (i * 5 % 256, i * 3 % 256, 255 - i)])
    picture.save(path)
    return path


def block(*boxes: tuple[int, int, int, int, int]) -> np.ndarray:
    values = np.zeros(SIZE, dtype=np.uint8)
    for x0, y0, x1, y1, value in boxes:
        values[y0:y1, x0:x1] = value
    return values


def read(folder: Path, **options: Any) -> tuple[AnnotatedDataset, AnnotationReport]:
    report = AnnotationReport("x")
    return read_annotations(folder, "masks", ReadOptions(**options), report), report


def found(dataset: AnnotatedDataset) -> list[tuple[str, list[float]]]:
    return [
        (raw.label, mask_util.toBbox(raw.rle).tolist())
        for image in dataset.images
        for raw in image.annotations
    ]


def sentence_of(folder: Path, **options: Any) -> str:
    with pytest.raises(DataError) as caught:
        read(folder, **options)
    return str(caught.value)


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 2**32 - 1), st.integers(1, 6), st.integers(1, 25), st.integers(1, 25))
def test_run_lengths_are_those_of_pycocotools(seed: int, count: int, height: int, width: int) -> None:
    labels = np.random.default_rng(seed).integers(0, count + 1, (height, width)).astype(np.int32)
    expected = [text_rle(labels == number) for number in range(1, count + 1)]
    assert run_lengths(labels, count, "x") == expected


def test_run_lengths_of_a_large_mask() -> None:
    labels = np.zeros((3000, 4000), dtype=np.uint8)
    labels[:, 1397:1400], labels[10:2990, 2000:3999] = 1, 2
    for number, rle in enumerate(run_lengths(labels, 2, "x"), start=1):
        assert rle == text_rle(labels == number)
    noise = np.random.default_rng(0).integers(0, 2, (3000, 4000)).astype(np.uint8)
    with pytest.raises(DataError, match="The mask x has more than 4,194,304 runs; is it a picture?"):
        run_lengths(noise, 1, "x")


def test_regions_touch_at_corners_too() -> None:
    values = np.array([[1, 0, 2, 2], [0, 1, 0, 0], [0, 0, 0, 2]], dtype=np.uint8)
    areas = [(value, int(mask_util.area(rle))) for value, rle in regions(values, [1, 2], "x")]
    assert areas == [(1, 2), (2, 2), (2, 1)]
    with pytest.raises(DataError, match="The mask x has more than 20000 regions; is it a picture?"):
        regions((np.indices((300, 300)) % 2 == 0).all(axis=0).astype(np.uint8), [1], "x")


@pytest.mark.parametrize("mode", [None, "P"])
@pytest.mark.parametrize(
    "names", ["background\ndent\nscratch\n", "dent\nscratch", "__ignore__\n_background_\ndent\nscratch\n"]
)
def test_index_masks(tmp_path: Path, mode: str | None, names: str) -> None:
    photo(tmp_path)
    photo(tmp_path, "images/b.png")
    png(
        tmp_path / "masks/a.png",
        block((1, 1, 5, 4, 1), (8, 1, 9, 2, 1), (10, 10, 30, 20, 2), (0, 19, 3, 20, 255)),
        mode,
    )
    (tmp_path / "classes.txt").write_text(names)
    dataset, report = read(tmp_path)
    assert dataset.classes == ["dent", "scratch"]
    assert found(dataset) == [("dent", [1, 1, 4, 3]), ("dent", [8, 1, 1, 1]), ("scratch", [10, 10, 20, 10])]
    assert [(i.name, i.height, i.width, len(i.annotations)) for i in dataset.images] == [
        ("images/a.jpg", *SIZE, 3),
        ("images/b.png", *SIZE, 0),
    ]
    (finding,) = report.findings
    assert finding.sentence == (
        f"{tmp_path}: kept, each connected region is read as one object; index masks can't tell objects "
        "of one class apart that touch, nor join the parts of one."
    )
    assert recognize(tmp_path) == "masks"
    dicts, _ = to_dicts(dataset, report=report)
    assert dicts[0]["annotations"][2]["bbox"] == [10, 10, 30, 20]


@pytest.mark.parametrize(
    "content",
    [
        {"1": "dent", "7": "scratch"},
        {"dent": 1, "scratch": 7, "_background_": 0},
        [{"id": 7, "name": "scratch"}, {"id": 1, "name": "dent"}],
        {"categories": [{"id": 1, "name": "dent"}, {"id": 7, "name": "scratch"}]},
    ],
)
def test_names_in_json(tmp_path: Path, content: Any) -> None:
    photo(tmp_path)
    png(tmp_path / "masks/a.png", block((1, 1, 5, 4, 1), (10, 10, 30, 20, 7)).astype(np.uint16))
    (tmp_path / "classes.json").write_text(json.dumps(content))
    dataset, _ = read(tmp_path)
    assert found(dataset) == [("dent", [1, 1, 4, 3]), ("scratch", [10, 10, 20, 10])]
    assert dataset.classes == ["dent", "scratch"]


def test_colours_of_a_label_map(tmp_path: Path) -> None:
    photo(tmp_path, "JPEGImages/a.jpg")
    values = block((1, 1, 5, 4, 1))
    colors = np.array([[0, 0, 0], [128, 0, 7]], dtype=np.uint8)[values]
    png(tmp_path / "SegmentationClass/a.png", colors)
    (tmp_path / "labelmap.txt").write_text(
        "# label:color_rgb:parts:actions\nbackground:0,0,0::\ndent:128,0,7::\n"
    )
    assert found(read(tmp_path)[0]) == [("dent", [1, 1, 4, 3])]
    colors[0, 0] = 9
    mask = png(tmp_path / "SegmentationClass/a.png", colors)
    assert sentence_of(tmp_path) == (
        f"The mask {mask} has colours without name (9,9,9); name them, or make them background."
    )
    (tmp_path / "labelmap.txt").unlink()
    (tmp_path / "classes.txt").write_text("dent")
    assert sentence_of(tmp_path).startswith(f"The mask {mask} is coloured; name the colours in labelmap.txt")


def test_roboflow_masks_beside_their_photos(tmp_path: Path) -> None:
    for split in ("train", "valid"):
        photo(tmp_path, f"{split}/a.jpg")
        png(tmp_path / f"{split}/a_mask.png", block((1, 1, 5, 4, 2)))
        (tmp_path / f"{split}/_classes.csv").write_text("Pixel Value, Class\n0, background\n1, x\n2, dent\n")
    dataset, _ = read(tmp_path)
    assert recognize(tmp_path) == "masks"
    assert found(dataset) == [("dent", [1, 1, 4, 3])] * 2
    assert [(image.name, image.split) for image in dataset.images] == [
        ("train/a.jpg", "train"),
        ("valid/a.jpg", "val"),
    ]


@pytest.mark.parametrize("layout", ["{0}/{2}_{1}.png", "{0}_{1}_{2}.png", "{0}/000{2}-{1}.png"])
def test_masks_of_single_objects(tmp_path: Path, layout: str) -> None:
    for name in ("car_1", "car", "car_1_x"):
        photo(tmp_path, f"images/{name}.jpg")
    for stem, label, number, box in [
        ("car", "dent", 1, (1, 1, 3, 3, 255)),
        ("car_1", "front_left door", 2, (2, 2, 3, 3, 1)),
        ("car_1", "dent", 10, (4, 4, 6, 6, 7)),
        ("car_1_x", "dent", 3, (0, 0, 30, 20, 255)),
    ]:
        png(tmp_path / "masks" / layout.format(stem, label, number), block(box))
    dataset, report = read(tmp_path)
    assert dataset.classes == ["dent", "front_left door"]
    expected = {
        "images/car.jpg": [("dent", 4)],
        "images/car_1.jpg": [("front_left door", 1), ("dent", 4)],
        "images/car_1_x.jpg": [("dent", 600)],
    }
    got = {i.name: [(a.label, int(mask_util.area(a.rle))) for a in i.annotations] for i in dataset.images}
    assert {name: sorted(objects) for name, objects in got.items()} == {
        name: sorted(objects) for name, objects in expected.items()
    }
    assert report.findings == []
    (tmp_path / "classes.txt").write_text("scratch\ndent\n")
    assert "is of the class 'front_left door', which is not among the classes (scratch, dent)" in sentence_of(
        tmp_path
    )


def test_masks_without_image_are_listed(tmp_path: Path) -> None:
    photo(tmp_path)
    png(tmp_path / "masks/a/1_dent.png", block((1, 1, 3, 3, 255)))
    orphan = png(tmp_path / "masks/b/1_dent.png", block((1, 1, 3, 3, 255)))
    _, report = read(tmp_path)
    assert [f.sentence for f in report.findings] == [f"{orphan}: dropped, there is no image of its name."]


def test_masks_that_cannot_be_used(tmp_path: Path) -> None:
    assert "is not a folder" in sentence_of(tmp_path / "none")
    photo(tmp_path)
    assert sentence_of(tmp_path).startswith(f"The folder {tmp_path} holds no masks")
    mask = png(tmp_path / "masks/a.png", block((1, 1, 3, 3, 3)))
    assert "have no names of classes" in sentence_of(tmp_path)
    assert sentence_of(tmp_path, classes=["dent"]) == (
        f"The mask {mask} has values without name (3); name them, or make them background."
    )
    Image.fromarray(block()[:10]).save(mask)
    assert sentence_of(tmp_path, classes=["dent"]) == (
        f"The mask {mask} is 30x10 and its image 30x20 (width x height); "
        "export the masks at the image's own size."
    )
    mask.write_bytes(mask.read_bytes()[:60])
    assert "can't be decoded" in sentence_of(tmp_path, classes=["dent"]) or "30x10" in sentence_of(
        tmp_path, classes=["dent"]
    )
    Image.fromarray(block()).save(mask, format="JPEG")
    assert "is no PNG but JPEG" in sentence_of(tmp_path, classes=["dent"])
    png(mask, block((1, 1, 3, 3, 1)))
    png(tmp_path / "masks/a/1_dent.png", block((1, 1, 3, 3, 255)))
    assert "mixes masks of whole images (as a.png) and of single objects" in sentence_of(tmp_path)


def huge(path: Path) -> None:
    png(path, block())
    data = bytearray(path.read_bytes())
    data[16:24] = (60_000).to_bytes(4, "big") * 2
    path.write_bytes(bytes(data))


def test_huge_headers_are_refused_before_decoding(tmp_path: Path) -> None:
    photo(tmp_path)
    text = "says it is 60000x60000, which is more than {} pixels; it is damaged, or must be made smaller."
    for what, name, most in (
        ("mask", "masks/a.png", "134,217,728"),
        ("image", "images/b.png", "268,435,456"),
    ):
        huge(tmp_path / name)
        sentence = sentence_of(tmp_path, classes=["dent"])
        assert sentence == f"The {what} {tmp_path}/{name} {text.format(most)}"


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
