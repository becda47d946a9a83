"""Every value of a good file replaced by every kind of wrong one: read, or refused with a sentence."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from cardamage.data.annotations.report import AnnotationReport
from cardamage.data.formats import load_labelme, load_via, read_coco
from cardamage.data.images.checks import check_images
from cardamage.errors import DataError
from tests.support.damage import REMOVED, places, replaced

Dicts = list[dict[str, Any]]

COCO = {
    "images": [{"id": 1, "file_name": "a.jpg", "height": 40, "width": 60}],
    "categories": [{"id": 1, "name": "dent", "supercategory": "x"}, {"id": 2, "name": "s"}],
    "annotations": [
        {
            "id": 1,
            "image_id": 1,
            "category_id": 2,
            "segmentation": [[10, 10, 20, 10, 20, 20]],
            "bbox": [10, 10, 10, 10],
            "iscrowd": 0,
        },
        {
            "id": 2,
            "image_id": 1,
            "category_id": 1,
            "segmentation": {"size": [40, 60], "counts": [9, 9, 2382]},
        },
    ],
}
LABELME = {
    "shapes": [
        {
            "label": "dent",
            "points": [[10, 10], [20, 10], [20, 20]],
            "group_id": None,
            "shape_type": "polygon",
        },
        {"label": "dent", "points": [[1, 1], [5, 5]], "group_id": 1, "shape_type": "mask", "mask": "abcd"},
        {"label": "x", "points": [[9, 9], [5, 5]], "group_id": 1, "shape_type": "circle"},
    ],
    "imagePath": "a.jpg",
    "imageData": None,
    "imageHeight": 40,
    "imageWidth": 60,
}
CIRCLE = {"name": "circle", "cx": 9, "cy": 9, "r": 4}
POLYGON = {"name": "polygon", "all_points_x": [1, 9, 9], "all_points_y": [1, 1, 9]}
VIA = {
    "a.jpg1": {
        "filename": "a.jpg",
        "regions": [
            {"shape_attributes": POLYGON, "region_attributes": {"name": "dent"}},
            {"shape_attributes": CIRCLE, "region_attributes": {"name": "dent"}},
        ],
    }
}
WRONG = [
    *(None, 0, 1, -1, 2.5, 1e30, float("nan"), float("inf"), 10**30, True),
    *("", "x", "1", "False", "é", "../x", "/etc/passwd", "a\x00b"),
    *([], {}, [1], [[]], {"a": 1}, [None], [["a"]], [1, 2, 3, 4, 5, 6], REMOVED),
]


def read_with(reader: str, path: Path) -> Dicts:
    report = AnnotationReport("x")
    if reader == "coco":
        return read_coco(path, report=report).dicts
    if reader == "labelme":
        return load_labelme(path.parent, report=report)[0]
    return load_via(path, path.parent, report=report)[0]


@pytest.mark.parametrize(("reader", "content"), [("coco", COCO), ("labelme", LABELME), ("via", VIA)])
def test_no_value_brings_a_reader_down(reader: str, content: Any, tmp_path: Path) -> None:
    Image.new("RGB", (60, 40)).save(tmp_path / "a.jpg")
    path = tmp_path / "a.json"
    path.write_text(json.dumps(content))
    check_images(read_with(reader, path))
    sentences = []
    for place in places(content):
        for value in WRONG:
            path.write_text(json.dumps(replaced(content, place, value)))
            try:
                check_images(read_with(reader, path))
            except DataError as error:
                sentences.append(str(error))
    assert len(sentences) > 50
    assert [s for s in sentences if not s.endswith((".", "?"))] == []
