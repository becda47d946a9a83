"""LVIS files."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cardamage.catalog import DatasetCatalog, MetadataCatalog
from cardamage.data.datasets import get_lvis_instances_meta, load_lvis_json, register_lvis_instances
from cardamage.data.detection_utils import get_fed_loss_cls_weights
from cardamage.errors import DataError

NAME = "lvis_format_test"


def _content() -> dict[str, Any]:
    square = [[1, 1, 9, 1, 9, 9, 1, 9]]
    return {
        "images": [
            {
                "id": 5,
                "coco_url": "http://images.cocodataset.org/train2017/000000000005.jpg",
                "height": 20,
                "width": 30,
                "neg_category_ids": [1],
                "not_exhaustive_category_ids": [2],
            }
        ],
        "categories": [
            {"id": 2, "name": "b", "synonyms": ["bonnet", "hood"], "frequency": "f", "image_count": 9},
            {"id": 1, "name": "a", "synonyms": ["aerial"], "frequency": "r", "image_count": 4},
        ],
        "annotations": [
            {"id": 1, "image_id": 5, "category_id": 2, "bbox": [1, 1, 8, 8], "segmentation": square}
        ],
    }


@pytest.fixture
def file(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "lvis.json"
    path.write_text(json.dumps(_content()))
    yield path
    DatasetCatalog.pop(NAME, None)
    MetadataCatalog.pop(NAME, None)


def test_pictures_classes_and_what_was_searched_for(file: Path) -> None:
    register_lvis_instances(NAME, {"note": 1}, file, file.parent)
    assert MetadataCatalog.get(NAME).evaluator_type == "lvis"
    (record,) = DatasetCatalog.get(NAME)
    assert record["file_name"] == str(file.parent / "train2017/000000000005.jpg")
    assert record["neg_category_ids"] == [1]
    assert record["not_exhaustive_category_ids"] == [2]
    assert [annotation["category_id"] for annotation in record["annotations"]] == [1]
    metadata = MetadataCatalog.get(NAME)
    assert metadata.thing_classes == ["aerial", "bonnet"]
    assert metadata.thing_dataset_id_to_contiguous_id == {1: 0, 2: 1}
    assert metadata.note == 1
    assert get_fed_loss_cls_weights(NAME, 0.5).tolist() == [2, 3]
    assert get_lvis_instances_meta("lvis_format")["thing_classes"] == ["aerial", "bonnet"]
    DatasetCatalog.get(NAME)  # a second reading says the same


def test_without_a_name_nothing_is_noted(file: Path) -> None:
    assert load_lvis_json(file, file.parent)[0]["annotations"][0]["category_id"] == 1
    assert NAME not in MetadataCatalog


def test_classes_of_what_is_not_there() -> None:
    with pytest.raises(DataError, match="classes of 'lvis_v9' are read from its file, and none is there"):
        get_lvis_instances_meta("lvis_v9")
