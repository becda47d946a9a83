"""Folders of mask PNGs of both kinds, as tools lay them out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pycocotools.mask as mask_util
import pytest
from PIL import Image

from cardamage.data.formats.dataset import to_dicts
from cardamage.data.formats.registry import (
    recognize,
)
from cardamage.errors import DataError
from tests.support.mask_folders import SIZE, block, found, photo, read


def png(path: Path, values: np.ndarray, mode: str | None = None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = Image.fromarray(values)
    if mode == "P":
        picture.putpalette([v for i in range(256) for v in (i * 5 % 256, i * 3 % 256, 255 - i)])
    picture.save(path)
    return path


def sentence_of(folder: Path, **options: Any) -> str:
    with pytest.raises(DataError) as caught:
        read(folder, **options)
    return str(caught.value)


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


def test_labelled_photos_in_a_folder_called_masks_are_no_masks(tmp_path: Path) -> None:
    for place in ("images/a.jpg", "masks/b.png"):
        photo(tmp_path, place)
        (tmp_path / place).with_suffix(".json").write_text(
            json.dumps({"shapes": [], "imagePath": Path(place).name, "imageHeight": 20, "imageWidth": 30})
        )
    assert recognize(tmp_path) == "labelme"
    png(tmp_path / "masks/a.png", block((1, 1, 5, 4, 1)))
    with pytest.raises(DataError, match="could be labelme or masks"):
        recognize(tmp_path)
