"""VIA's ways of saying the same: versions, projects, csv, and where the class is."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from cardamage.data.annotations.report import AnnotationReport
from cardamage.data.formats.dataset import AnnotatedDataset
from cardamage.data.formats.registry import ReadOptions
from cardamage.data.formats.via import read, recognize
from cardamage.data.formats.via.file import CSV_COLUMNS
from cardamage.errors import DataError

POLYGON = {"name": "polygon", "all_points_x": [10, 20, 20, 10], "all_points_y": [10, 10, 20, 20]}
SQUARE = [10.0, 10, 20, 10, 20, 20, 10, 20]


def region(attributes: Any, shape: Any = None) -> dict[str, Any]:
    return {"shape_attributes": shape or POLYGON, "region_attributes": attributes}


def draw(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (60, 40)).save(path)


def put(path: Path, *regions: dict[str, Any], name: str = "a.jpg", **more: Any) -> Path:
    draw(path.parent / name)
    path.write_text(json.dumps({f"{name}1": {"filename": name, "size": 1, "regions": list(regions), **more}}))
    return path


def put_csv(path: Path, rows: list[list[Any]], mark: str = "", encoding: str = "utf-8") -> Path:
    draw(path.parent / "a.jpg")
    with path.open("w", newline="", encoding=encoding) as file:
        file.write(mark)
        csv.writer(file).writerows([CSV_COLUMNS, *rows])
    return path


def read_all(path: Path, **options: Any) -> tuple[AnnotatedDataset, list[str]]:
    report = AnnotationReport("x")
    dataset = read(path, ReadOptions(**options), report)
    return dataset, [finding.sentence for finding in report.findings]


def labels(path: Path, **options: Any) -> list[str]:
    return [raw.label for image in read_all(path, **options)[0].images for raw in image.annotations]


def attributes_read(path: Path) -> list[Any]:
    (image,) = read_all(path)[0].images
    return [raw.extra for raw in image.annotations]


def test_version_1(tmp_path: Path) -> None:
    draw(tmp_path / "a.jpg")
    closed = {"name": "polygon", "all_points_x": [10, 20, 20, 10], "all_points_y": [10, 10, 20, 10]}
    entry = {
        "fileref": "",
        "size": 5,
        "filename": "a.jpg",
        "base64_img_data": "",
        "file_attributes": {"view": "left"},
        "regions": {"0": region({"name": "dent"}, closed), "1": region({"name": "scratch"})},
    }
    path = tmp_path / "via_region_data.json"
    path.write_text(json.dumps({"a.jpg5": entry}))
    assert recognize(path)
    (image,) = read_all(path)[0].images
    assert [raw.label for raw in image.annotations] == ["dent", "scratch"]
    assert image.annotations[1].polygons == [SQUARE]
    assert image.extra == {"file_attributes": {"view": "left"}}


@pytest.mark.parametrize("mark", ["", "#", "\ufeff"])
def test_csv(tmp_path: Path, mark: str) -> None:
    wanted = '{"name":"dent","type":undefined,"note":"undefined, \\"undefined\\""}'
    rows = [
        ["a.jpg", 5, '{"view":"left"}', 2, 0, json.dumps(POLYGON), wanted],
        ["a.jpg", 5, '{"view":"left"}', 2, 1, json.dumps(POLYGON), '{"name":"scratch","type":undefined}'],
        ["b.jpg", 6, "{}", 0, 0, "{}", "{}"],
    ]
    draw(tmp_path / "b.jpg")
    path = put_csv(tmp_path / "a.csv", rows, mark)
    assert recognize(path)
    first, second = read_all(path)[0].images
    assert [raw.label for raw in first.annotations] == ["dent", "scratch"]
    assert first.annotations[0].extra == {"attributes": {"note": 'undefined, "undefined"'}}
    assert first.annotations[1].extra == {}
    assert (first.extra, second.extra, second.annotations) == ({"file_attributes": {"view": "left"}}, {}, [])


def test_csv_alone_in_its_folder(tmp_path: Path) -> None:
    put_csv(tmp_path / "a.csv", [["a.jpg", 5, "{}", 1, 0, json.dumps(POLYGON), '{"name":"dent"}']])
    assert recognize(tmp_path)
    assert labels(tmp_path) == ["dent"]


def test_long_outline_in_csv(tmp_path: Path) -> None:
    xs = [i % 50 for i in range(100_000)]
    shape = json.dumps({"name": "polygon", "all_points_x": xs, "all_points_y": xs[::-1]})
    path = put_csv(tmp_path / "a.csv", [["a.jpg", 5, "{}", 1, 0, shape, '{"name":"dent"}']])
    limit = csv.field_size_limit()
    (image,) = read_all(path)[0].images
    assert len((image.annotations[0].polygons or [])[0]) == 200_000
    assert csv.field_size_limit() == limit


@pytest.mark.parametrize(
    ("rows", "sentence"),
    [
        ([], "{} is no VIA file: it has no images with 'filename' and 'regions'."),
        ([["", 1, "{}", 0, 0, "{}", "{}"]], "{}, line 2 names no picture; export it again."),
        (
            [["a.jpg", 1, "{}", 1, 0, "[]", "{}"]],
            "{}, line 2 holds what is no JSON object; export it again.",
        ),
        (
            [["a.jpg", 1, "{}", 1, 0, '{"name"', "{}"]],
            "{}, line 2 holds what is no JSON object; export it again.",
        ),
        (
            [["a.jpg", 1, "{}", 1, 0, '{"a":' * 100_000, "{}"]],
            "{}, line 2 holds what is no JSON object; export it again.",
        ),
    ],
)
def test_csv_that_cannot_be_used(tmp_path: Path, rows: Any, sentence: str) -> None:
    path = put_csv(tmp_path / "a.csv", rows)
    with pytest.raises(DataError) as caught:
        read_all(path)
    assert str(caught.value) == sentence.format(path)


def test_other_csv(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("image,class\na.jpg,dent\n")
    assert not recognize(path)
    with pytest.raises(DataError, match="is no VIA file: it has no columns filename, region_shape"):
        read_all(path)


@pytest.mark.parametrize(
    ("regions", "expected"),
    [
        ([{"type": "dent"}, {"type": "scratch"}], ["dent", "scratch"]),
        ([{"type": {"dent": True}}, {"type": {"scratch": True, "dent": False}}], ["dent", "scratch"]),
        ([{"dent": "1"}, {"scratch": "1"}], ["dent", "scratch"]),
        ([{"dent": True}, {"scratch": True, "dent": False}], ["dent", "scratch"]),
        ([{"dent": "dent"}, {"scratch": "scratch"}], ["dent", "scratch"]),
        ([{"dent": "yes", "scratch": ""}, {"dent": "no", "scratch": "x"}], ["dent", "scratch"]),
        ([{"damage": "1"}, {"damage": "1"}], ["damage", "damage"]),
        # A class that is called 1.
        ([{"class": "1"}, {"class": "1"}], ["1", "1"]),
        ([{"class_id": "1"}, {"class_id": "0"}], ["1", "0"]),
        ([{"damage": "1"}, {"damage": "2"}], ["1", "2"]),
        # Ticks beside a class are no classes.
        ([{"class": "dent", "hidden": "1"}, {"class": "scratch"}], ["dent", "scratch"]),
        ([{"kind": "dent", "hidden": "1"}, {"kind": "scratch", "cut": "1"}, {"kind": "dent"}], None),
        # Each region ticks one of several, and the other attribute says something else.
        ([{"dent": "1", "how": "bad"}, {"scratch": "1", "how": "little"}], ["dent", "scratch"]),
        # What we write ourselves is not the class.
        ([{"kind": "dent", "group_id": "1"}, {"kind": "x", "group_id": "2", "iscrowd": "1"}], ["dent", "x"]),
    ],
)
def test_where_the_class_is(tmp_path: Path, regions: list[Any], expected: list[str] | None) -> None:
    path = put(tmp_path / "a.json", *map(region, regions))
    assert labels(path) == (expected or ["dent", "scratch", "dent"])


def test_class_attribute_that_is_asked_for(tmp_path: Path) -> None:
    path = put(
        tmp_path / "a.json", region({"dent": "1", "how": "bad"}), region({"scratch": "1", "how": "bad"})
    )
    assert labels(path, attribute="how") == ["bad", "bad"]


def test_several_ticks_are_told_and_kept(tmp_path: Path) -> None:
    path = put(tmp_path / "a.json", region({"type": {"dent": True, "crack": True}}), region({"type": {}}))
    dataset, said = read_all(path)
    assert said == [
        f"{path}, a.jpg, region 0 ('crack'): kept, crack, dent are ticked and the first counts.",
        f"{path}, a.jpg, region 1 (''): dropped, its attribute 'type' is empty.",
    ]
    (raw,) = next(iter(dataset.images)).annotations
    assert raw.extra == {"attributes": {"type": {"dent": True, "crack": True}}}


def test_other_attributes_are_kept(tmp_path: Path) -> None:
    given = {"name": "dent", "note": "ä", "description": "small", "score": "0.5", "group_id": "7"}
    path = put(tmp_path / "a.json", region(given), file_attributes={"view": "left"}, fileref="http://x/a.jpg")
    assert attributes_read(path) == [
        {"description": "small", "score": 0.5, "group_id": 7, "attributes": {"note": "ä"}}
    ]
    (image,) = read_all(path)[0].images
    assert image.extra == {"file_attributes": {"view": "left"}, "fileref": "http://x/a.jpg"}


def test_parts_of_a_group_are_one_object(tmp_path: Path) -> None:
    circle = {"name": "circle", "cx": 40, "cy": 20, "r": 5}
    path = put(
        tmp_path / "a.json",
        region({"name": "dent", "group_id": "1", "note": "a"}),
        region({"name": "scratch", "group_id": "1"}),
        region({"name": "dent", "group_id": "1", "note": "b"}, circle),
        region({"name": "dent", "group_id": ""}),
    )
    dataset, said = read_all(path)
    (image,) = dataset.images
    assert [(raw.label, len(raw.polygons or [])) for raw in image.annotations] == [
        ("dent", 2),
        ("scratch", 1),
        ("dent", 1),
    ]
    assert image.annotations[0].extra == {"group_id": 1, "attributes": {"note": "a"}}
    place = f"{path}, a.jpg, region 2 ('dent')"
    assert said == [f"{place}: lost, its 'attributes' is not that of the first part."]


@pytest.mark.parametrize(
    ("shape", "reason"),
    [
        ({"name": "point", "cx": 1, "cy": 2}, "its shape 'point' has no area"),
        ({"cx": 1}, "its shape None has no area"),
        ({"name": "circle", "cx": 1, "cy": 2}, "its shape 'circle' lacks the numbers that it needs"),
        (
            {"name": "circle", "cx": 1, "cy": 2, "r": 1e308},
            "its shape 'circle' lacks the numbers that it needs",
        ),
        (
            {"name": "polygon", "all_points_x": [1, 2, 3], "all_points_y": [1]},
            "lacks the numbers that it needs",
        ),
        ({"name": "polyline", "all_points_x": [1, 1], "all_points_y": [1, 1]}, "has no length"),
    ],
)
def test_shapes_without_area(tmp_path: Path, shape: dict[str, Any], reason: str) -> None:
    dataset, said = read_all(put(tmp_path / "a.json", region({"name": "dent"}, shape)))
    assert next(iter(dataset.images)).annotations == []
    assert len(said) == 1
    assert said[0].endswith(f"{reason}.")


def test_project_names_its_folder_of_pictures(tmp_path: Path) -> None:
    draw(tmp_path / "photos/a.jpg")
    entries = {"a.jpg1": {"filename": "a.jpg", "size": 1, "regions": [region({"kind": "dent"})]}}
    settings = {"core": {"default_filepath": "photos/"}, "project": {"name": "x"}}
    path = tmp_path / "project.json"
    project = {"_via_settings": settings, "_via_img_metadata": entries, "_via_attributes": {"region": {}}}
    path.write_text(json.dumps(project))
    dataset, _ = read_all(path)
    assert [image.source for image in dataset.images] == [str(tmp_path / "photos/a.jpg")]
    assert dataset.extra == {
        "via": {"class_attribute": "kind", "settings": settings, "attributes": {"region": {}}}
    }
    (tmp_path / "inner").mkdir()
    settings["core"]["default_filepath"] = "../photos/"
    path = tmp_path / "inner/project.json"
    path.write_text(json.dumps(project))
    with pytest.raises(DataError, match="1 of 1 images does not exist"):
        read_all(path)
    assert len(read_all(path, image_root=tmp_path / "photos")[0].images) == 1


def test_folder_of_splits(tmp_path: Path) -> None:
    for split in ("train", "val"):
        put(tmp_path / split / "via_region_data.json", region({"name": split}))
        put(tmp_path / split / "other.json", region({"name": "other"}))
    (tmp_path / "test").mkdir()
    assert recognize(tmp_path)
    dataset, _ = read_all(tmp_path)
    found = [(image.name, image.split, [raw.label for raw in image.annotations]) for image in dataset.images]
    assert found == [("train/a.jpg", "train", ["train"]), ("val/a.jpg", "val", ["val"])]
    assert dataset.classes == ["train", "val"]


def test_folder_of_several_files_is_ambiguous(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds no VIA file; name the file"):
        read_all(tmp_path)
    put(tmp_path / "a.json", region({"name": "dent"}))
    assert [image.split for image in read_all(tmp_path)[0].images] == [""]
    put(tmp_path / "b.json", region({"name": "dent"}))
    with pytest.raises(DataError) as caught:
        read_all(tmp_path)
    assert str(caught.value) == (
        f"The folder {tmp_path} holds several VIA files (a.json, b.json); name one of them."
    )


def test_a_picture_saved_anew_is_one(tmp_path: Path) -> None:
    path = put(tmp_path / "a.json", region({"name": "dent"}))
    content = json.loads(path.read_text())
    content["a.jpg2"] = {**content["a.jpg1"], "size": 2}
    path.write_text(json.dumps(content))
    dataset, said = read_all(path)
    assert [len(image.annotations) for image in dataset.images] == [2]
    assert said == [f"{path}, a.jpg: changed, the picture is listed twice; its entries are joined."]


def test_files_that_are_not_recognized(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    for content in (
        {"region": {"name": {}}, "file": {}},
        {"a.jpg": {"name": "a.jpg", "regions": []}},
        [],
        {},
    ):
        path.write_text(json.dumps(content))
        assert not recognize(path)
        with pytest.raises(DataError, match=f"^{path} is no VIA file: it has no images"):
            read_all(path)


def test_links_out_of_the_folder_are_refused(tmp_path: Path) -> None:
    draw(tmp_path / "elsewhere/secret.jpg")
    path = put(tmp_path / "set/a.json", region({"name": "dent"}))
    (tmp_path / "set/a.jpg").unlink()
    (tmp_path / "set/a.jpg").symlink_to(tmp_path / "elsewhere/secret.jpg")
    with pytest.raises(DataError, match="is a link that leads out of its folder"):
        read_all(path)
    put(tmp_path / "set/b.json", name="../elsewhere/secret.jpg")
    with pytest.raises(DataError, match="lies outside of its folder"):
        read_all(tmp_path / "set/b.json", image_root=tmp_path / "set")
