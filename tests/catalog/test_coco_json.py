from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pycocotools.mask as mask_util
import pytest
from pycocotools.coco import COCO

from cardamage.catalog import (
    DatasetCatalog,
    MetadataCatalog,
    convert_to_coco_dict,
    convert_to_coco_json,
    dicts_to_coco,
)
from cardamage.catalog.coco_json import mask_area
from cardamage.errors import DataError
from cardamage.structures import BoxMode

SQUARE = [10.0, 10.0, 20.0, 10.0, 20.0, 20.0, 10.0, 20.0]


def annotation(**changes: Any) -> dict[str, Any]:
    return {
        "bbox": [10, 10, 20, 20],
        "bbox_mode": BoxMode.XYXY_ABS,
        "category_id": 0,
        "segmentation": [SQUARE],
        **changes,
    }


def image(*annotations: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return {"file_name": "a.jpg", "height": 40, "width": 50, "annotations": list(annotations), **changes}


@pytest.fixture
def dataset() -> Iterator[str]:
    DatasetCatalog.register("coco_json_test", lambda: [image(annotation(), image_id=7), image(image_id=9)])
    yield "coco_json_test"
    DatasetCatalog.remove("coco_json_test")
    MetadataCatalog.remove("coco_json_test")


def test_nothing_at_all() -> None:
    coco = dicts_to_coco([], [])
    assert coco["images"] == coco["annotations"] == coco["categories"] == []


def test_ids_boxes_and_areas(dataset: str) -> None:
    MetadataCatalog.get(dataset).thing_classes = ["dent", "scratch"]
    coco = convert_to_coco_dict(dataset)
    assert [i["id"] for i in coco["images"]] == [7, 9]
    assert coco["categories"] == [{"id": 0, "name": "dent"}, {"id": 1, "name": "scratch"}]
    (only,) = coco["annotations"]
    assert only == {
        "id": 1,
        "image_id": 7,
        "category_id": 0,
        "bbox": [10.0, 10.0, 10.0, 10.0],
        "area": 100.0,
        "iscrowd": 0,
        "segmentation": [SQUARE],
    }


def test_category_ids_of_the_dataset_come_back(dataset: str) -> None:
    MetadataCatalog.get(dataset).set(
        thing_classes=["dent", "scratch"], thing_dataset_id_to_contiguous_id={5: 0, 3: 1}
    )
    coco = convert_to_coco_dict(dataset)
    assert [c["id"] for c in coco["categories"]] == [5, 3]
    assert coco["annotations"][0]["category_id"] == 5


def test_class_names_are_needed(dataset: str) -> None:
    MetadataCatalog.get(dataset)
    with pytest.raises(DataError) as caught:
        convert_to_coco_dict(dataset)
    assert str(caught.value) == (
        "Dataset 'coco_json_test' has no class names; "
        "set MetadataCatalog.get('coco_json_test').thing_classes."
    )


def test_category_out_of_range() -> None:
    with pytest.raises(DataError) as caught:
        dicts_to_coco([image(annotation(category_id=2))], ["dent", "scratch"])
    assert str(caught.value) == "a.jpg holds category 2, but there are only the 2 classes dent, scratch."


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_areas_are_those_of_the_masks(seed: int) -> None:
    rng = np.random.default_rng(seed)
    polygons = [rng.uniform(0, 40, 10).tolist(), rng.uniform(0, 40, 6).tolist()]
    mask = mask_util.decode(mask_util.merge(mask_util.frPyObjects(polygons, 40, 50)))
    whole = mask_util.encode(np.asfortranarray(mask))
    runs = mask_util.frPyObjects({"size": [40, 50], "counts": [100, 30, 1870]}, 40, 50)
    text = {"size": [40, 50], "counts": whole["counts"].decode()}
    expected = float(mask.sum())
    for form in (polygons, whole, text):
        assert mask_area(form, 40, 50) == expected
        coco = dicts_to_coco([image(annotation(segmentation=form))], ["dent"])
        assert coco["annotations"][0]["area"] == expected
        json.dumps(coco)
    assert mask_area({"size": [40, 50], "counts": [100, 30, 1870]}, 40, 50) == mask_util.area(runs) == 30


def test_boxes_without_outline_and_other_modes() -> None:
    box = annotation(bbox=np.array([1, 2, 3, 4]), bbox_mode=BoxMode.XYWH_ABS, iscrowd=True)
    del box["segmentation"]
    short = annotation(segmentation=[[1, 1, 2, 2]])
    first, second = dicts_to_coco([image(box, short)], ["dent"])["annotations"]
    assert (first["bbox"], first["area"], first["iscrowd"]) == ([1.0, 2.0, 3.0, 4.0], 12.0, 1)
    assert "segmentation" not in first
    assert "segmentation" not in second


def test_written_file_is_read_by_pycocotools(dataset: str, tmp_path: Path) -> None:
    MetadataCatalog.get(dataset).thing_classes = ["dent"]
    path = tmp_path / "new" / "a.json"
    for _ in range(2):
        convert_to_coco_json(dataset, path)
    coco = COCO(str(path))
    assert coco.annToMask(coco.anns[1]).sum() == 100
    assert [p.name for p in path.parent.iterdir()] == ["a.json"]


def test_a_rotated_box_stays_what_it_is() -> None:
    turned = {"bbox": [10, 12, 6, 4, 30], "bbox_mode": BoxMode.XYWHA_ABS, "category_id": 0}
    (only,) = dicts_to_coco([image(turned)], ["dent"])["annotations"]
    assert only["bbox"] == [10, 12, 6, 4, 30]
    assert only["area"] == 24
