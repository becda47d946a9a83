from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from cardamage.catalog import DatasetCatalog, MetadataCatalog
from cardamage.data.datasets import register_coco_instances
from cardamage.data.formats.coco import load_coco_json, read_coco
from cardamage.errors import DataError

SQUARE = [10.0, 10.0, 20.0, 10.0, 20.0, 20.0, 10.0, 20.0]


def coco(**changes: Any) -> dict[str, Any]:
    return {
        "images": [{"id": 1, "file_name": "a.jpg", "height": 40, "width": 50}],
        "categories": [{"id": 1, "name": "dent"}, {"id": 2, "name": "scratch"}],
        "annotations": [
            {"id": 1, "image_id": 1, "category_id": 2, "segmentation": [SQUARE], "bbox": [10, 10, 10, 10]}
        ],
        **changes,
    }


@pytest.fixture
def write(tmp_path: Path) -> Callable[[Any], Path]:
    def writer(content: Any) -> Path:
        path = tmp_path / "a.json"
        path.write_text(json.dumps(content), encoding="utf-8")
        return path

    return writer


def sentence_of(path: Path, **options: Any) -> str:
    with pytest.raises(DataError) as caught:
        read_coco(path, **options)
    return str(caught.value)


Writer = Callable[[Any], Path]


def test_contiguous_ids_follow_the_category_ids(write: Writer, tmp_path: Path) -> None:
    categories = [{"id": 9, "name": "scratch"}, {"id": 4, "name": "dent"}]
    content = coco(categories=categories)
    content["annotations"][0]["category_id"] = 9
    dataset = read_coco(write(content))
    assert dataset.classes == ["dent", "scratch"]
    assert dataset.contiguous_ids == {4: 0, 9: 1}
    (record,) = dataset.dicts
    assert record["file_name"] == str(tmp_path / "a.jpg")
    assert (record["height"], record["width"], record["image_id"]) == (40, 50, 1)
    (annotation,) = record["annotations"]
    assert annotation["category_id"] == 1
    assert annotation["bbox"] == [10.0, 10.0, 20.0, 20.0]


def test_image_without_annotations_stays(write: Writer) -> None:
    (record,) = read_coco(write(coco(annotations=[]))).dicts
    assert record["annotations"] == []


def test_numbers_written_as_something_else(write: Writer) -> None:
    content = coco(
        images=[{"id": "0", "file_name": "a.jpg", "height": "40", "width": "50"}],
        categories=[{"id": "1", "name": "dent"}],
    )
    content["annotations"] = [
        {
            "id": "0",
            "image_id": 0,
            "category_id": 1.0,
            "iscrowd": "False",
            "segmentation": json.dumps([SQUARE]),
        },
        {"id": "1", "image_id": "0", "category_id": "1", "iscrowd": "True", "bbox": "[1, 2, 3, 4]"},
        {"id": "2", "image_id": "0", "category_id": "1", "iscrowd": False, "segmentation": SQUARE},
    ]
    (record,) = read_coco(write(content)).dicts
    assert record["image_id"] == 0
    assert (record["height"], record["width"]) == (40, 50)
    assert [a["iscrowd"] for a in record["annotations"]] == [0, 1, 0]
    assert record["annotations"][1]["bbox"] == [1.0, 2.0, 4.0, 6.0]
    assert record["annotations"][2]["segmentation"] == [SQUARE]


def test_image_ids_that_are_names_are_numbered(write: Writer) -> None:
    images = [{"id": name, "file_name": f"{name}.jpg", "height": 40, "width": 50} for name in ("b", "a")]
    content = coco(images=images)
    content["annotations"][0]["image_id"] = "a"
    first, second = read_coco(write(content)).dicts
    assert (first["image_id"], second["image_id"]) == (1, 2)
    assert (len(first["annotations"]), len(second["annotations"])) == (0, 1)


@pytest.mark.parametrize(
    ("first", "others", "left_out"),
    [
        ({"id": 1, "name": "_background_"}, {}, True),
        ({"id": 0, "name": "car"}, {"supercategory": "car"}, True),
        ({"id": 0, "name": "car"}, {"supercategory": "none"}, False),
        ({"id": 1, "name": "car"}, {"supercategory": "car"}, False),
        ({"id": 1, "name": "hail"}, {}, False),
    ],
)
def test_unused_placeholders_are_left_out(
    write: Writer, first: dict[str, Any], others: dict[str, Any], left_out: bool
) -> None:
    content = coco(categories=[first, {"id": 2, "name": "dent", **others}])
    assert read_coco(write(content)).classes == ([] if left_out else [first["name"]]) + ["dent"]
    content["annotations"].append({**content["annotations"][0], "id": 2, "category_id": first["id"]})
    assert read_coco(write(content)).classes == [first["name"], "dent"]


def test_only_category_is_no_placeholder(write: Writer) -> None:
    content = coco(categories=[{"id": 0, "name": "background"}], annotations=[])
    assert read_coco(write(content)).classes == ["background"]


def put_image(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (50, 40)).save(path)


@pytest.mark.parametrize("place", [".", "images", "a", "../images", "../images/a"])
def test_images_are_looked_for_in_the_usual_places(tmp_path: Path, place: str) -> None:
    json_file = tmp_path / "annotations" / "instances_a.json"
    json_file.parent.mkdir()
    json_file.write_text(json.dumps(coco()))
    path = json_file.parent / place / "a.jpg"
    put_image(path)
    found = read_coco(json_file).dicts[0]["file_name"]
    assert Path(found).resolve() == path.resolve()


def test_path_counts_where_only_it_exists(tmp_path: Path, write: Writer) -> None:
    put_image(tmp_path / "JPEGImages" / "a.jpg")
    content = coco()
    for path in ("JPEGImages/a.jpg", "/JPEGImages/a.jpg", "JPEGImages\\a.jpg"):
        content["images"][0]["path"] = path
        assert read_coco(write(content)).dicts[0]["file_name"] == str(tmp_path / "JPEGImages/a.jpg")
    put_image(tmp_path / "a.jpg")
    assert read_coco(write(content)).dicts[0]["file_name"] == str(tmp_path / "a.jpg")


@pytest.mark.parametrize("name", ["./a.jpg", "b/./a.jpg", "b//a.jpg", "/b/a.jpg", ".b/a.jpg"])
def test_paths_are_without_needless_parts(tmp_path: Path, write: Writer, name: str) -> None:
    content = coco()
    content["images"][0]["file_name"] = name
    found = read_coco(write(content)).dicts[0]["file_name"]
    assert found == str(tmp_path / name.lstrip("/"))


def test_image_outside_of_its_folder(tmp_path: Path, write: Writer) -> None:
    content = coco()
    content["images"][0]["file_name"] = "../../etc/passwd"
    assert sentence_of(write(content), image_root=tmp_path) == (
        f"The image ../../etc/passwd in {tmp_path}/a.json lies outside of its folder {tmp_path}; "
        "name a folder that holds all images."
    )


def test_missing_image_folder(tmp_path: Path, write: Writer) -> None:
    path = write(coco())
    assert (
        sentence_of(path, image_root="/no/where") == f"The image folder /no/where of {path} does not exist."
    )


def changed(**changes: Any) -> dict[str, Any]:
    content = coco()
    content["annotations"][0].update(changes)
    return content


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ([], "{} is no COCO file: it has no list of 'images'."),
        ({"shapes": []}, "{} is no COCO file: it has no list of 'images'."),
        (
            coco(categories=[]),
            "The COCO file {} has no 'categories', so its classes have no names; export it with them.",
        ),
        (
            changed(category_id=7),
            "{}, annotation 1: its category 7 is not among the file's (1 dent, 2 scratch).",
        ),
        (
            changed(image_id=7),
            "{}, annotation 1: its image 7 is not among the file's images; export it again.",
        ),
        (
            coco(images=[{"id": 1, "file_name": "a.jpg"}]),
            "The image a.jpg in {} has no height and width; add them.",
        ),
        (
            coco(images=[{"id": 1, "file_name": name, "height": 4, "width": 5} for name in "ab"]),
            "{} has two images of id 1: a and b; give each its own.",
        ),
        (
            coco(categories=[{"id": 1, "name": "a"}, {"id": 1, "name": "b"}]),
            "{} has two categories of id 1; give each its own.",
        ),
        (
            coco(categories=[{"id": "x", "name": "a"}]),
            "The category 'a' in {} has the id 'x'; ids must be whole numbers.",
        ),
        (coco(images=[{"id": 1, "height": 40, "width": 50}]), "Image 1 in {} has no file_name."),
    ],
)
def test_files_that_cannot_be_used(write: Writer, content: Any, sentence: str) -> None:
    path = write(content)
    assert sentence_of(path) == sentence.format(path)


def test_unreadable_files(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    assert sentence_of(path) == f"The COCO file {path} does not exist."
    assert sentence_of(tmp_path) == f"The COCO file {tmp_path} is a folder; name the file in it."
    path.write_text('{"images":\n[}')
    assert sentence_of(path) == f"The COCO file {path} is not valid JSON at line 2; export it again."
    path.write_bytes(b"\xff\xfe{}")
    assert sentence_of(path) == f"The COCO file {path} is not UTF-8 text; save it as UTF-8."
    path.write_text("version https://git-lfs.github.com/spec/v1\n")
    assert sentence_of(path) == (
        f"The COCO file {path} is a Git LFS pointer; run 'git lfs pull' where it was cloned."
    )


def test_load_coco_json_as_upstream(write: Writer, tmp_path: Path) -> None:
    content = coco()
    content["annotations"][0].update(score=0.5, area=3)
    path = write(content)
    (record,) = load_coco_json(path, tmp_path, extra_annotation_keys=["score", "area"])
    assert record["annotations"][0]["category_id"] == 2
    assert record["annotations"][0]["score"] == 0.5
    assert "area" not in record["annotations"][0]
    (record,) = load_coco_json(path, tmp_path, "test_load_coco")
    assert record["annotations"][0]["category_id"] == 1
    metadata = MetadataCatalog.get("test_load_coco")
    assert metadata.thing_classes == ["dent", "scratch"]
    assert metadata.thing_dataset_id_to_contiguous_id == {1: 0, 2: 1}
    MetadataCatalog.remove("test_load_coco")


def test_register_coco_instances_reads_nothing_yet(tmp_path: Path) -> None:
    name = "test_register_coco"
    register_coco_instances(name, {"thing_colors": [(1, 2, 3)]}, tmp_path / "no.json", tmp_path)
    metadata = MetadataCatalog.get(name)
    assert (metadata.json_file, metadata.evaluator_type) == (str(tmp_path / "no.json"), "coco")
    with pytest.raises(DataError, match="does not exist"):
        DatasetCatalog.get(name)
    DatasetCatalog.remove(name)
    MetadataCatalog.remove(name)


@pytest.mark.parametrize("annotations", [None, []])
def test_file_without_annotations(write: Writer, annotations: Any) -> None:
    assert read_coco(write(coco(annotations=annotations))).dicts[0]["annotations"] == []


@pytest.mark.parametrize("segmentation", [5, "x", [], None])
def test_outline_that_is_none_leaves_the_box(write: Writer, segmentation: Any) -> None:
    (record,) = read_coco(write(changed(segmentation=segmentation))).dicts
    assert "segmentation" not in record["annotations"][0]
    assert record["annotations"][0]["bbox"] == [10.0, 10.0, 20.0, 20.0]
