"""Which images are used, and what is said about them."""

from __future__ import annotations

import logging
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from torch.utils.data import Dataset

from cardamage.catalog import DatasetCatalog, MetadataCatalog
from cardamage.data.preparation import selection
from cardamage.errors import ConfigValueError, DataError

CLASSES = ["dent", "scratch", "a_class_with_a_very_long_name"]


def _image(name: str, classes: list[int], **extra: Any) -> dict[str, Any]:
    notes = [{"category_id": c, "iscrowd": 0, **extra} for c in classes]
    return {"file_name": name, "image_id": name, "height": 4, "width": 6, "annotations": notes}


SETS: dict[str, Any] = {
    "sel_a": [_image("1.png", [0, 0, 1]), _image("2.png", []), _image("3.png", [0], iscrowd=1)],
    "sel_b": [_image("4.png", [2])],
    "sel_empty": [],
    "sel_blank": [_image("5.png", [])],
    "sel_other": [_image("6.png", [0])],
    "sel_torch": Dataset(),
}


@pytest.fixture(autouse=True)
def _registered() -> Iterator[None]:
    for name, records in SETS.items():
        DatasetCatalog.register(name, lambda records=records: records)
        if name != "sel_torch":
            MetadataCatalog.get(name).set(thing_classes=["rust"] if name == "sel_other" else CLASSES)
    yield
    for name in SETS:
        DatasetCatalog.remove(name)
        if name in MetadataCatalog:
            MetadataCatalog.remove(name)


def _names(records: Any) -> list[str]:
    return [record["file_name"] for record in records]


def test_sets_are_joined_and_empty_images_dropped(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    assert _names(selection.get_detection_dataset_dicts(["sel_a", "sel_b"])) == ["1.png", "4.png"]
    assert "Kept 2 images; dropped 2 without annotations." in caplog.text
    kept = selection.get_detection_dataset_dicts("sel_a", filter_empty=False)
    assert _names(kept) == ["1.png", "2.png", "3.png"]


def test_the_histogram_counts_what_is_no_crowd(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    selection.print_instances_class_histogram(SETS["sel_a"] + SETS["sel_b"], ["bump", *CLASSES[1:]])
    rows = [line.split("|")[1:-1] for line in caplog.text.splitlines() if line.startswith("|")]
    cells = [cell.strip() for row in rows for cell in row]
    counts = dict(zip(cells[0::2], cells[1::2], strict=True))
    assert counts["bump"] == "2"
    assert counts["scratch"] == "1"
    assert counts["a_class_with_a_ver.."] == "1"
    assert counts["total"] == "4"


@pytest.mark.parametrize("category", [-1, 3])
def test_an_unknown_category_names_its_file(category: int) -> None:
    with pytest.raises(DataError) as caught:
        selection.print_instances_class_histogram([_image("x.png", [0, category])], CLASSES)
    assert str(caught.value) == (
        f"Annotation 1 of x.png has category_id {category}, but the dataset has 3 classes (0 to 2); "
        "correct its category."
    )


def test_images_with_few_keypoints_are_dropped() -> None:
    records = [_image(f"{n}.png", [0], keypoints=[1, 1, 2] * n + [0, 0, 0]) for n in range(4)]
    assert _names(selection.filter_images_with_few_keypoints(records, 2)) == ["2.png", "3.png"]


def test_torch_datasets_pass() -> None:
    assert selection.get_detection_dataset_dicts("sel_torch") is SETS["sel_torch"]


@pytest.mark.parametrize(
    ("names", "error", "sentence"),
    [
        ([], ConfigValueError, "No dataset is named; set DATASETS.TRAIN"),
        ("sel_empty", DataError, "The dataset 'sel_empty' has no images"),
        ("sel_blank", DataError, "No image of sel_blank has an annotation"),
        (["sel_a", "sel_other"], DataError, "'sel_a' and 'sel_other' differ in their thing_classes"),
        ("sel_c", DataError, "sel_c"),
    ],
)
def test_what_can_not_be_used_is_named(names: Any, error: type[Exception], sentence: str) -> None:
    with pytest.raises(error, match=sentence):
        selection.get_detection_dataset_dicts(names)


def test_each_dataset_has_its_proposal_file(tmp_path: Path) -> None:
    DatasetCatalog["sel_a"] = lambda: [dict(record) for record in SETS["sel_a"]]
    DatasetCatalog["sel_b"] = lambda: [dict(record) for record in SETS["sel_b"]]
    files = []
    for name in ("sel_a", "sel_b"):
        ids = [record["image_id"] for record in SETS[name]]
        boxes = [np.full((2, 4), i, np.float32) for i in range(len(ids))]
        content = {"ids": ids, "boxes": boxes, "objectness_logits": [np.array([0.0, 1.0])] * len(ids)}
        files.append(tmp_path / f"{name}.pkl")
        files[-1].write_bytes(pickle.dumps(content))
    records = selection.get_detection_dataset_dicts(["sel_a", "sel_b"], proposal_files=files)
    assert [(r["file_name"], r["proposal_boxes"][0, 0]) for r in records] == [("1.png", 0), ("4.png", 0)]
    with pytest.raises(ConfigValueError, match="2 datasets and 1 proposal files"):
        selection.get_detection_dataset_dicts(["sel_a", "sel_b"], proposal_files=files[:1])


def test_image_files_are_looked_at_once(tmp_path: Path) -> None:
    good, gone = tmp_path / "good.png", tmp_path / "gone.png"
    cv2.imwrite(str(good), np.zeros((4, 6, 3), np.uint8))
    DatasetCatalog.register("sel_disk", lambda: [_image(str(good), [0]), _image(str(gone), [0])])
    try:
        with pytest.raises(DataError, match="1 of 2 images does not exist: .*gone.png"):
            selection.get_detection_dataset_dicts("sel_disk", look_at_images=True)
        cv2.imwrite(str(gone), np.zeros((4, 6, 3), np.uint8))
        assert len(selection.get_detection_dataset_dicts("sel_disk", look_at_images=True)) == 2  # type: ignore[arg-type]
        gone.unlink()
        selection.get_detection_dataset_dicts("sel_disk", look_at_images=True)  # known to be good
    finally:
        DatasetCatalog.remove("sel_disk")
