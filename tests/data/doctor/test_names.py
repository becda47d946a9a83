"""Names of classes and splits."""

from __future__ import annotations

import itertools

import pytest

from cardamage.data.doctor.names import misspelled, same_but_case
from cardamage.data.doctor.splits import split_of

PARTS = [
    f"{end}_{side}_{part}"
    for end in ("front", "back")
    for side in ("left", "right")
    for part in ("door", "light", "wheel", "bumper")
]


def test_sides_and_parts_are_no_slips() -> None:
    assert (
        misspelled([*PARTS, "hood", "trunk", "dent", "rust", "class 1", "class 2", "left", "right", "light"])
        == []
    )


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("scratch", "scrath"),
        ("scratch", "scracth"),
        ("scratch", "scratches"),
        ("dent", "dents"),
        ("front_left_door", "front_left_dor"),
        ("Broken Headlight", "broken-headligth"),
        ("head lamp", "headlmp"),
    ],
)
def test_slips(one: str, other: str) -> None:
    assert misspelled([one, "paint", other]) == [(one, other)]


def test_case_and_separators() -> None:
    names = ["Dent", "head_lamp", "dent", "Head Lamp", "head-lamp", "glass", "Kratzer", "größe", "GRÖSSE"]
    assert same_but_case(names) == [
        ["Dent", "dent"],
        ["head_lamp", "Head Lamp", "head-lamp"],
        ["größe", "GRÖSSE"],
    ]
    assert all(misspelled([a, b]) == [] for a, b in itertools.combinations(["Dent", "dent", "DENT"], 2))


@pytest.mark.parametrize(
    ("path", "split"),
    [
        ("set/train/images/a.jpg", "train"),
        ("set/valid/_annotations.coco.json", "val"),
        ("annotations/instances_val2017.json", "val"),
        ("trainingset/annotations.json", "train"),
        ("testset/JPEGImages/te1.jpg", "test"),
        ("images/test/train_station.jpg", "test"),
        ("images/a.jpg", ""),
        ("latest/a.jpg", ""),
        ("", ""),
    ],
)
def test_splits(path: str, split: str) -> None:
    assert split_of(path) == split
