"""Completing and checking COCO ground truth."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from cardamage.errors import EvaluationError
from cardamage.evaluation.coco_ground_truth import GroundTruth

SQUARE = [10.0, 10.0, 30.0, 10.0, 30.0, 30.0, 10.0, 30.0]


def _dataset(*annotations: dict[str, Any], image_id: Any = 5) -> dict[str, Any]:
    common = {"image_id": image_id, "category_id": 2}
    return {
        "images": [{"id": image_id, "height": 60, "width": 80}],
        "categories": [{"id": 2, "name": "dent"}],
        "annotations": [{**common, **annotation} for annotation in annotations],
    }


def test_ids_are_renumbered_from_one() -> None:
    box = {"bbox": [1, 2, 3, 4], "area": 12}
    dataset = _dataset({"id": 0, **box}, {"id": 7, **box}, {"id": 7, **box})
    before = copy.deepcopy(dataset)
    assert [a["id"] for a in GroundTruth(dataset, "x").annotations] == [1, 2, 3]
    assert dataset == before


@pytest.mark.parametrize(
    ("given", "bbox", "area"),
    [
        ({"bbox": [1, 2, 3, 4]}, [1, 2, 3, 4], 12),  # no area, no outline: the box's
        ({"segmentation": [SQUARE]}, [10, 10, 20, 20], 400),  # an outline alone
        ({"segmentation": [SQUARE], "bbox": [0, 0, 9, 9]}, [0, 0, 9, 9], 400),  # area of the outline
        ({"segmentation": [SQUARE], "bbox": [0, 0, 9, 9], "area": 81}, [0, 0, 9, 9], 81),  # as the file says
        (
            {"segmentation": {"size": [60, 80], "counts": [60, 10, 4730]}},
            [1, 0, 1, 10],
            10,
        ),  # plain run lengths
    ],
)
def test_missing_fields_are_filled_in(given: dict[str, Any], bbox: list[float], area: float) -> None:
    (annotation,) = GroundTruth(_dataset({"id": 1, **given}), "x").annotations
    assert annotation["bbox"] == bbox
    assert annotation["area"] == area
    assert annotation["iscrowd"] == 0


def test_undrawable_polygons_are_dropped() -> None:
    truth = GroundTruth(
        _dataset(
            {"id": 1, "bbox": [1, 1, 5, 5], "segmentation": [[1, 1, 2, 2], SQUARE, [1, 2, 3, 4, 5, 6, 7]]},
            {"id": 2, "bbox": [1, 1, 5, 5], "segmentation": [[1, 1, 2, 2]]},
        ),
        "x",
    )
    assert truth.annotations[0]["segmentation"] == [SQUARE]
    assert len(truth.for_task("bbox")["annotations"]) == 2
    assert len(truth.for_task("segm")["annotations"]) == 1


@pytest.mark.parametrize(("outline", "masks"), [({}, False), ({"segmentation": [SQUARE]}, True)])
def test_has_masks(outline: dict[str, Any], masks: bool) -> None:
    assert GroundTruth(_dataset({"id": 1, "bbox": [1, 1, 5, 5], **outline}), "x").has_masks() is masks
    assert GroundTruth(_dataset(), "x").has_masks()


def test_image_ids_of_any_kind() -> None:
    truth = GroundTruth(_dataset({"id": 1, "bbox": [1, 1, 5, 5]}, image_id="front left"), "x")
    assert truth.annotations[0]["image_id"] == truth.image_id("front left") == 1
    assert truth.image_size(1) == (60, 80)


def test_annotation_of_no_image_is_ignored() -> None:
    dataset = _dataset({"id": 1, "bbox": [1, 1, 5, 5]}, {"id": 2, "bbox": [1, 1, 5, 5], "image_id": 99})
    assert len(GroundTruth(dataset, "x").annotations) == 1


@pytest.mark.parametrize(
    ("dataset", "sentence"),
    [
        ({"images": []}, "The ground truth of 'x' has no 'categories'; it must be a COCO file."),
        (
            _dataset({"id": 4}),
            "Annotation 4 in the ground truth of 'x' has neither a box nor an outline; "
            "remove it or draw it again.",
        ),
        (
            {**_dataset({"id": 4, "segmentation": [SQUARE]}), "images": [{"id": 5}]},
            "Image 5 in the ground truth of 'x' has no height and width; add them.",
        ),
    ],
)
def test_errors(dataset: dict[str, Any], sentence: str) -> None:
    with pytest.raises(EvaluationError) as caught:
        GroundTruth(dataset, "x")
    assert str(caught.value) == sentence


def test_unknown_image() -> None:
    with pytest.raises(
        EvaluationError, match="prediction for image id 6, which the ground truth of 'x' doesn't"
    ):
        GroundTruth(_dataset(), "x").image_id(6)
