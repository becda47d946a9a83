from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from cardamage.catalog.coco_json import mask_area
from cardamage.data.annotations.report import AnnotationReport
from cardamage.data.formats.via import load_via
from cardamage.errors import DataError

POLYGON = {"name": "polygon", "all_points_x": [10, 20, 20, 10], "all_points_y": [10, 10, 20, 20]}


def region(attributes: Any = None, shape: Any = None) -> dict[str, Any]:
    return {
        "shape_attributes": shape or POLYGON,
        "region_attributes": {"name": "dent"} if attributes is None else attributes,
    }


def write(folder: Path, *regions: dict[str, Any], project: bool = False, as_dict: bool = False) -> Path:
    Image.new("RGB", (60, 40)).save(folder / "a.jpg")
    listed: Any = {str(i): r for i, r in enumerate(regions)} if as_dict else list(regions)
    content: dict[str, Any] = {"a.jpg123": {"filename": "a.jpg", "size": 123, "regions": listed}}
    path = folder / "via.json"
    path.write_text(json.dumps({"_via_settings": {}, "_via_img_metadata": content} if project else content))
    return path


@pytest.mark.parametrize("project", [False, True])
@pytest.mark.parametrize("as_dict", [False, True])
def test_export_and_project(tmp_path: Path, project: bool, as_dict: bool) -> None:
    (record,), classes = load_via(write(tmp_path, region(), project=project, as_dict=as_dict))
    assert classes == ["dent"]
    assert (record["height"], record["width"], record["image_id"]) == (40, 60, 1)
    assert record["file_name"] == str(tmp_path / "a.jpg")
    assert record["annotations"][0]["bbox"] == [10.0, 10.0, 20.0, 20.0]


@pytest.mark.parametrize(
    ("shape", "area"),
    [
        (POLYGON, 100),
        ({"name": "rect", "x": 10, "y": 10, "width": 20, "height": 10}, 200),
        ({"name": "circle", "cx": 30, "cy": 20, "r": 10}, 100 * math.pi),
        ({"name": "ellipse", "cx": 30, "cy": 20, "rx": 10, "ry": 5, "theta": 0.5}, 50 * math.pi),
        ({"name": "polyline", "all_points_x": [10, 30], "all_points_y": [10, 10]}, 24 * 4),
    ],
)
def test_shapes(tmp_path: Path, shape: dict[str, Any], area: float) -> None:
    (record,), _ = load_via(write(tmp_path, region(shape=shape)), line_width=4.0)
    assert mask_area(record["annotations"][0]["segmentation"], 40, 60) == pytest.approx(area, rel=0.05)


def test_class_is_the_attribute_that_most_regions_fill_in(tmp_path: Path) -> None:
    path = write(tmp_path, region({"note": "", "kind": "dent"}), region({"note": "x", "kind": "scratch"}))
    assert load_via(path)[1] == ["dent", "scratch"]
    assert load_via(path, attribute="note")[1] == ["x"]


def test_ticked_boxes(tmp_path: Path) -> None:
    path = write(
        tmp_path, region({"name": {"scratch": True, "dent": False}}), region({"name": {"dent": True}})
    )
    assert load_via(path)[1] == ["dent", "scratch"]


def test_left_out_regions_are_named(tmp_path: Path) -> None:
    path = write(tmp_path, region(), region({"name": ""}), region(shape={"name": "point", "cx": 1, "cy": 2}))
    report = AnnotationReport("x")
    (record,), _ = load_via(path, report=report)
    assert len(record["annotations"]) == 1
    assert [f.sentence for f in report.findings] == [
        f"{path}, a.jpg, region 1 (''): dropped, its attribute 'name' is empty.",
        f"{path}, a.jpg, region 2 ('dent'): dropped, its shape 'point' has no area.",
    ]


def test_class_not_in_the_list(tmp_path: Path) -> None:
    path = write(tmp_path, region({"name": "dnt"}))
    with pytest.raises(DataError) as caught:
        load_via(path, classes=["dent"])
    assert str(caught.value) == (
        f"{path}, a.jpg, region 0 ('dnt'): the label is not among the classes; did you mean dent?"
    )


def test_missing_images_are_all_named(tmp_path: Path) -> None:
    path = write(tmp_path, region())
    (tmp_path / "a.jpg").unlink()
    with pytest.raises(DataError, match=f"^1 of 1 images does not exist: {tmp_path}/a.jpg; put them there"):
        load_via(path)


@pytest.mark.parametrize("content", [[], {}, {"a": 1}, {"_via_img_metadata": {}}, {"images": []}])
def test_no_via_file(tmp_path: Path, content: Any) -> None:
    path = tmp_path / "a.json"
    path.write_text(json.dumps(content))
    with pytest.raises(DataError) as caught:
        load_via(path)
    assert str(caught.value) == f"{path} is no VIA file: it has no images with 'filename' and 'regions'."
