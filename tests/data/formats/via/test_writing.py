"""VIA files written: what is in them, and what is read back."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pycocotools.mask as mask_util
import pytest

from cardamage.data.annotations.report import AnnotationReport
from cardamage.data.formats import coco, via
from cardamage.data.formats.dataset import AnnotatedDataset
from cardamage.data.formats.registry import ReadOptions, WriteOptions, Written
from cardamage.errors import DataError, TrainingError
from tests.support.annotated_images import SQUARE, Endless, growth, image_of, square, write_picture
from tests.support.drawn_masks import dataset_masks


def written(
    folder: Path, images: Any, how: str = "keep", tolerance: float = 0.0, **extra: Any
) -> tuple[Written, list[str]]:
    losses = AnnotationReport("x")
    dataset = AnnotatedDataset("source", "coco", ["dent", "scratch"], images, extra)
    done = via.write(dataset, folder / "out", WriteOptions(pictures=how, tolerance=tolerance), losses)
    return done, [finding.sentence for finding in losses.findings]


def read_back(path: Path, **options: Any) -> AnnotatedDataset:
    return via.read(path, ReadOptions(**options), AnnotationReport("x"))


def test_project_is_what_via_opens(tmp_path: Path) -> None:
    image = image_of(tmp_path, square(extra={"attributes": {"note": "ä"}, "flags": {"cut": True}}))
    image.extra = {"id": 4, "file_attributes": {"view": "left"}, "license": 3}
    done, said = written(tmp_path, [image], how="copy")
    (path,) = done.files
    assert path == tmp_path / "out/via_project.json"
    assert done.dataset == {"all": f"via:{path}@{tmp_path}/out/images"}
    project = json.loads(path.read_text())
    assert said == []
    size = Path(image.source).stat().st_size
    assert project["_via_image_id_list"] == [f"a.jpg{size}"]
    assert project["_via_settings"]["core"]["default_filepath"] == "images/"
    assert project["_via_data_format_version"] == "2.0.10"
    assert project["_via_attributes"]["region"]["class"]["type"] == "dropdown"
    assert project["_via_attributes"]["region"]["class"]["options"] == {"dent": "dent", "scratch": "scratch"}
    assert project["_via_attributes"]["region"]["note"]["type"] == "text"
    assert project["_via_attributes"]["region"]["flags"]["type"] == "checkbox"
    assert project["_via_attributes"]["region"]["flags"]["options"] == {"cut": "cut"}
    assert set(project["_via_attributes"]["file"]) == {"view", "license"}
    entry = {
        "filename": "a.jpg",
        "size": size,
        "regions": [
            {
                "shape_attributes": {
                    "name": "polygon",
                    "all_points_x": [10, 20, 20, 10],
                    "all_points_y": [10, 10, 20, 20],
                },
                "region_attributes": {"class": "dent", "note": "ä", "flags": {"cut": True}},
            }
        ],
        "file_attributes": {"view": "left", "license": "3"},
    }
    assert project["_via_img_metadata"] == {f"a.jpg{size}": entry}
    assert json.loads((tmp_path / "out/via_region_data.json").read_text()) == {f"a.jpg{size}": entry}


def test_a_split_is_in_the_path_once(tmp_path: Path) -> None:
    names = ["train/a.jpg", "train/b/a.jpg", "trained.jpg", "a.jpg"]
    done, _ = written(tmp_path, [image_of(tmp_path, name=n, split="train") for n in names], how="copy")
    entries = json.loads(done.files[0].read_text())["_via_img_metadata"].values()
    assert [entry["filename"] for entry in entries] == ["a.jpg", "b/a.jpg", "trained.jpg", "a_2.jpg"]
    assert all((tmp_path / "out/train/images" / entry["filename"]).is_file() for entry in entries)


def test_flags_of_an_image_are_no_attribute_of_regions(tmp_path: Path) -> None:
    # VIA's table of regions shows the file's attribute where both have the same name.
    image = image_of(tmp_path, square(extra={"flags": {"cut": True}}))
    image.extra = {"flags": {"reviewed": True, "night": False}, "weather": "rain"}
    done, said = written(tmp_path, [image], how="copy")
    assert said == []
    declared = json.loads(done.files[0].read_text())["_via_attributes"]
    assert set(declared["file"]).isdisjoint(declared["region"])
    for name in ("via_project.json", "via_region_data.json", "via_region_data.csv"):
        (again,) = via.read(tmp_path / "out" / name, ReadOptions(), AnnotationReport("x")).images
        flags = {"reviewed": True, "night": False}
        assert again.extra == {"flags": flags, "file_attributes": {"weather": "rain"}}
        assert again.annotations[0].extra == {"flags": {"cut": True}}


def test_three_files_say_the_same(tmp_path: Path) -> None:
    images = [
        image_of(
            tmp_path, square("scratch"), square(polygons=[SQUARE, [30, 30, 40, 30, 40, 35]]), name="b/ö.jpg"
        ),
        image_of(tmp_path, name="empty.jpg"),
    ]
    written(tmp_path, images)
    found = [
        read_back(tmp_path / "out" / name, image_root=tmp_path)
        for name in ("via_project.json", "via_region_data.json", "via_region_data.csv")
    ]
    for dataset in found:
        assert dataset.classes == ["dent", "scratch"]
        assert [image.name for image in dataset.images] == ["b/ö.jpg", "empty.jpg"]
        assert dataset_masks(dataset) == dataset_masks(AnnotatedDataset("", "", [], images))
    assert len({repr(dataset.images).replace(dataset.source, "") for dataset in found}) == 1


def test_written_folder_is_read_as_it_was(tmp_path: Path) -> None:
    images = [
        image_of(tmp_path, square(), name=f"{n}.jpg", split=split) for n, split in enumerate(["train", "val"])
    ]
    done, _ = written(tmp_path, images, how="copy")
    assert [file.parent.name for file in done.files] == ["train", "val"]
    back = read_back(tmp_path / "out")
    assert [(i.name, i.split) for i in back.images] == [
        ("train/images/0.jpg", "train"),
        ("val/images/1.jpg", "val"),
    ]


def test_masks_become_outlines(tmp_path: Path) -> None:
    mask = np.zeros((40, 50), np.uint8, order="F")
    mask[3:20, 4:20] = 1
    mask[6:9, 8:12] = 0
    mask[30:33, 30:40] = 1
    rle = mask_util.encode(mask)
    image = image_of(tmp_path, square(polygons=None, rle=rle), square("scratch"))
    _, said = written(tmp_path, [image])
    assert said == ["here: changed, its mask becomes an outline along the edges of its pixels."]
    back = read_back(tmp_path / "out", image_root=tmp_path)
    assert dataset_masks(back) == dataset_masks(AnnotatedDataset("", "", [], [image]))
    assert [raw.extra for i in back.images for raw in i.annotations] == [{"group_id": 1}, {}]


def test_boxes_become_rectangles(tmp_path: Path) -> None:
    _, said = written(tmp_path, [image_of(tmp_path, square(polygons=None, bbox=(1, 2, 11.5, 9)))])
    assert said == ["here: changed, its box becomes a rectangle, which VIA takes for its outline."]
    (stored,) = json.loads((tmp_path / "out/via_region_data.json").read_text()).values()
    shape = stored["regions"][0]["shape_attributes"]
    assert shape == {"name": "rect", "x": 1.0, "y": 2.0, "width": 10.5, "height": 7.0}


def test_what_via_cannot_hold_is_told(tmp_path: Path) -> None:
    full = mask_util.encode(np.ones((40, 50), np.uint8, order="F"))
    empty = mask_util.encode(np.zeros((40, 50), np.uint8, order="F"))
    objects = [
        square(polygons=[SQUARE, [1, 2, 3, 4]]),
        square(polygons=[[1, 2, float("nan"), 4, 5, 6]]),
        square(polygons=[]),
        square(polygons=None),
        square(polygons=None, rle=empty),
        square(polygons=None, rle=full, bbox=(0, 0, 30, 40)),
        square(bbox=(10, 10, 20, 20.5)),
        square(bbox=(0, 10, 20, 20)),
        square(extra={"class": "x", "score": float("nan"), "n": None}),
    ]
    _, said = written(
        tmp_path, [image_of(tmp_path, *objects)], info={"year": 1}, categories={"dent": {"a": 1}}
    )
    assert said == [
        "source: lost, VIA has no place for its 'info'.",
        'source: lost, VIA has no place for its "categories\' fields".',
        "here: lost, a part of its outline has fewer than 3 points.",
        "here: lost, a part of its outline is not a list of x, y numbers.",
        "here: lost, its outline has no points.",
        "here: lost, it has neither outline nor box.",
        "here: lost, its mask is empty.",
        "here: lost, its box is another than that of its outline.",
        "here: changed, its mask becomes an outline along the edges of its pixels.",
        "here: lost, its box is another than that of its outline.",
        "here: lost, its field 'score' is nothing that JSON can hold.",
        "here: changed, its attribute 'class' gets a 2 behind its name, which the class has.",
    ]


def test_groups_stay_apart(tmp_path: Path) -> None:
    two = [SQUARE, [30, 30, 40, 30, 40, 35]]
    objects = [
        square(extra={"group_id": 5}),
        square(polygons=two, extra={"group_id": 7}),
        square(polygons=two),
        square(extra={"group_id": 5}),
        square("scratch", extra={"group_id": 5}),
        square(iscrowd=1),
    ]
    image = image_of(tmp_path, *objects)
    _, said = written(tmp_path, [image])
    back = read_back(tmp_path / "out", image_root=tmp_path)
    assert dataset_masks(back) == dataset_masks(AnnotatedDataset("", "", [], [image]))
    found = [(raw.extra.get("group_id"), raw.iscrowd) for i in back.images for raw in i.annotations]
    assert found == [(8, 0), (7, 0), (9, 0), (10, 0), (5, 0), (None, 1)]
    assert (
        said
        == ["here: changed, its group_id is that of another object of its class, so it gets another."] * 2
    )


def test_what_cannot_be_written_at_all(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="here: the label is not among the classes; did you mean dent?"):
        written(tmp_path, [image_of(tmp_path, square("dnt"))])
    assert list((tmp_path / "out").rglob("*.*")) == []
    (tmp_path / "out").rmdir()
    (tmp_path / "out").write_text("")
    with pytest.raises(TrainingError, match="lies under, a file"):
        written(tmp_path, [image_of(tmp_path, square())])


def test_memory_does_not_grow_with_the_images(tmp_path: Path) -> None:
    source = write_picture(tmp_path / "a.jpg")
    assert growth(lambda count: written(tmp_path, Endless(source, count)), 50, 1000) < 1_000_000


SHAPES = [
    {"name": "polygon", "all_points_x": [10, 20.5, 20, 10], "all_points_y": [10, 10, 20, 20]},
    {"name": "rect", "x": 1, "y": 2, "width": 9, "height": 8},
    {"name": "circle", "cx": 20, "cy": 20, "r": 7.5},
    {"name": "ellipse", "cx": 30, "cy": 20, "rx": 10, "ry": 5, "theta": 0.3},
    {"name": "polyline", "all_points_x": [5, 30, 40], "all_points_y": [5, 30, 30]},
]


def test_every_shape_comes_back_from_coco(tmp_path: Path) -> None:
    write_picture(tmp_path / "a.jpg")
    regions = [
        {
            "shape_attributes": shape,
            "region_attributes": {"damage type": name, "note": "n", "boxes": {"a": True}},
        }
        for shape, name in zip(SHAPES, ["dent", "scratch", "dent", "dent", "crack"], strict=True)
    ]
    entry = {"filename": "a.jpg", "size": 1, "regions": regions, "file_attributes": {"view": "left"}}
    settings = {
        "ui": {"image": {"region_label": "note"}},
        "core": {"default_filepath": ""},
        "project": {"name": "p"},
    }
    attributes = {"region": {"note": {"type": "radio", "options": {"n": "N"}}}, "file": {}}
    project = {
        "_via_settings": settings,
        "_via_img_metadata": {"a.jpg1": entry},
        "_via_attributes": attributes,
    }
    path = tmp_path / "p.json"
    path.write_text(json.dumps(project))
    losses = AnnotationReport("x")
    first = read_back(path)
    done = coco.write(first, tmp_path / "coco", WriteOptions("copy"), losses)
    between = coco.read(done.files[0], ReadOptions(), losses)
    assert dataset_masks(between) == dataset_masks(first)
    back = via.write(between, tmp_path / "via", WriteOptions("copy"), losses)
    stored = json.loads(back.files[0].read_text())
    (again,) = stored["_via_img_metadata"].values()
    assert again["regions"] == regions
    assert again["file_attributes"] == entry["file_attributes"]
    assert stored["_via_settings"]["ui"] == settings["ui"]
    assert stored["_via_attributes"]["region"]["note"] == attributes["region"]["note"]
    assert stored["_via_attributes"]["region"]["damage type"]["options"] == {
        name: name for name in ("crack", "dent", "scratch")
    }
    assert [finding.sentence for finding in losses.findings] == [
        f"{done.files[0]}: lost, VIA has no place for its 'info'."
    ]
