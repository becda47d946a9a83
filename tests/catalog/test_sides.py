"""Pairs of classes, each case judged by hand."""

from __future__ import annotations

import pytest
import torch

from cardamage.catalog import Metadata, MetadataCatalog
from cardamage.catalog.consistency import create_class_hflip_indices
from cardamage.catalog.sides import class_flip_indices, find_flip_map, flip_classes, one_sided
from cardamage.data.registered.classes import CARDD_CLASSES, CARPARTS_CLASSES, COCO_CLASSES
from cardamage.errors import DataError
from cardamage.structures import Instances

CARPARTS_PAIRS = [
    ("back_left_door", "back_right_door"),
    ("back_left_light", "back_right_light"),
    ("front_left_door", "front_right_door"),
    ("front_left_light", "front_right_light"),
    ("left_mirror", "right_mirror"),
]


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ("front_left_door", "front_right_door"),
        ("Left Mirror", "Right Mirror"),
        ("LEFT-MIRROR", "RIGHT-MIRROR"),
        ("frontLeftDoor", "frontRightDoor"),
        ("FrontLeftDoor", "FrontRightDoor"),
        ("door_l", "door_r"),
        ("door.L", "door.R"),
        ("doorL", "doorR"),
        ("FL door", "FR door"),
        ("left", "right"),
        ("Tür vorne links", "Tür vorne rechts"),
        ("linker Spiegel", "rechter Spiegel"),
        ("porte gauche", "porte droite"),
        ("phare gauche", "phare droit"),
        ("faro izquierdo", "faro derecho"),
        ("puerta_izquierda", "puerta_derecha"),
        ("gương trái", "gương phải"),
        ("左前门", "右前门"),
        ("left door (left half)", "right door (right half)"),
        ("left_door2", "right_door2"),
        ("left_mirror", "Right-Mirror"),
    ],
)
def test_a_pair_whatever_the_spelling_and_order(left: str, right: str) -> None:
    assert find_flip_map(["hood", left, right, "wheel"]) == [(left, right)]
    assert find_flip_map([right, "hood", left]) == [(left, right)]


@pytest.mark.parametrize(
    "classes",
    [
        [],
        ["hood"],
        ["left_door", "hood"],
        ["leftover", "rightover"],
        ["cleft", "cright"],
        ["copyleft", "copyright"],
        ["left_door", "right_light"],
        ["front_left_door", "back_right_door"],
        ["front_left_door", "right_door"],
        ["left_door", "links_door"],
        ["frontleftdoor", "frontrightdoor"],
        ["ladder", "radder"],
        # Which of the two is meant isn't known.
        ["phare gauche", "phare droit", "phare droite"],
        ["left_door", "Left door", "right_door"],
        [" ".join(["gauche"] * 40), " ".join(["droite"] * 40)],
    ],
)
def test_no_pair(classes: list[str]) -> None:
    assert find_flip_map(classes) == []


def test_the_built_in_sets() -> None:
    assert find_flip_map(CARPARTS_CLASSES) == CARPARTS_PAIRS
    assert find_flip_map(CARDD_CLASSES) == find_flip_map(COCO_CLASSES) == []
    assert one_sided(CARPARTS_CLASSES) == []


def test_sides_without_counterpart() -> None:
    assert one_sided(["left_mirror", "right_door", "left_door", "hood", "grade_l", "leftover"]) == [
        "left_mirror"
    ]


def test_metadata_finds_what_is_not_set() -> None:
    metadata = Metadata(name="cars", thing_classes=["left_door", "right_door", "hood"])
    assert metadata.thing_flip_map == metadata.get("thing_flip_map") == [("left_door", "right_door")]
    metadata.replace(thing_classes=["hood", "door_l", "door_r"])
    assert metadata.thing_flip_map == [("door_l", "door_r")]
    assert "thing_flip_map" not in metadata.as_dict()
    metadata.thing_flip_map = []
    assert metadata.thing_flip_map == metadata.get("thing_flip_map") == []
    assert Metadata(name="empty").get("thing_flip_map") is None
    with pytest.raises(AttributeError, match="has no 'thing_flip_map': it is empty"):
        _ = Metadata(name="empty").thing_flip_map


def test_indices_of_a_registered_set() -> None:
    wanted = list(range(18))
    for left, right in ((2, 4), (3, 5), (8, 10), (9, 11), (13, 14)):
        wanted[left], wanted[right] = right, left
    assert create_class_hflip_indices("carparts_train") == wanted
    assert create_class_hflip_indices(["cardd_train", "cardd_val"]) == list(range(6))
    MetadataCatalog.get("sides_test").set(thing_classes=["a", "b", "c"], thing_flip_map=[["c", "a"]])
    assert create_class_hflip_indices("sides_test") == [2, 1, 0]
    MetadataCatalog.remove("sides_test")


@pytest.mark.parametrize(
    ("pairs", "message"),
    [
        (
            [("left_dor", "hood")],
            "The pairs names 'left_dor', which is not among the classes; did you mean left_door",
        ),
        ([("hood", "left_door"), ("hood", "right_door")], "'hood' or 'right_door' in two pairs"),
        ([("hood", "hood")], "which is not a pair of two class names"),
        (["ab"], "The pairs has 'ab', which is not a pair"),
        ([("hood", "left_door", "right_door")], "which is not a pair"),
    ],
)
def test_pairs_that_do_not_fit(pairs: list[tuple[str, str]], message: str) -> None:
    with pytest.raises(DataError, match=message):
        class_flip_indices(["hood", "left_door", "right_door"], pairs, "The pairs")


def test_a_pair_may_be_named_twice() -> None:
    assert class_flip_indices(["a", "b"], [("a", "b"), ("b", "a")], "") == [1, 0]


def test_predictions_on_a_flipped_picture_are_turned_around() -> None:
    found = Instances((4, 6), pred_classes=torch.tensor([0, 2, 1, 2]), scores=torch.rand(4))
    scores = found.scores.clone()
    assert flip_classes(found, [1, 0, 2]) is found
    assert found.pred_classes.tolist() == [1, 2, 0, 2]
    assert torch.equal(found.scores, scores)
    truth = flip_classes(Instances((4, 6), gt_classes=torch.tensor([1])), (1, 0, 2))
    assert truth.gt_classes.tolist() == [0]
    assert truth.gt_classes.dtype == torch.int64
    nothing = flip_classes(Instances((4, 6), pred_classes=torch.zeros(0, dtype=torch.int64)), [1, 0])
    assert len(nothing) == 0
    with pytest.raises(DataError, match="pred_classes go beyond the 2 classes"):
        flip_classes(found, [1, 0])
