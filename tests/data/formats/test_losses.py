from __future__ import annotations

from typing import Any

import numpy as np
import pycocotools.mask as mask_util
import pytest

from cardamage.data.annotations.checks import RawAnnotation
from cardamage.data.annotations.report import AnnotationReport
from cardamage.data.formats.losses import tell_box, tell_fields

SQUARE = np.array([[10, 10], [20, 10], [20, 20], [10, 20]], dtype=np.float64)


@pytest.mark.parametrize("kind", ["polygons", "mask"])
@pytest.mark.parametrize(
    ("box", "lost"),
    [
        (None, 0),
        ([10, 10, 20, 20], 0),
        ([9.2, 10, 20.9, 20], 0),
        ([8, 10, 20, 20], 1),
        ([10, 10, 20, 23], 1),
        ([10, 10, 20, float("nan")], 1),
    ],
)
def test_a_box_other_than_the_outline_is_lost(kind: str, box: list[float] | None, lost: int) -> None:
    losses = AnnotationReport("set")
    raw = RawAnnotation("file, annotation 7", bbox=box)
    pixels = np.zeros((30, 40), dtype=np.uint8, order="F")
    pixels[10:20, 10:20] = 1
    tell_box(raw, [SQUARE[:3], SQUARE[1:]] if kind == "polygons" else mask_util.encode(pixels), losses)
    said = "file, annotation 7: lost, its box is another than that of its outline."
    assert [finding.sentence for finding in losses.findings] == [said] * lost


def test_fields_without_value_are_not_worth_a_word() -> None:
    losses = AnnotationReport("set")
    fields = {"a": None, "b": "", "c": [], "d": {}, "e": 0, "f": False, "id": 3, "g": "kept", "parts": [1]}
    tell_fields(fields, "YOLO", "a.jpg", losses, carried=("g",))
    assert [finding.reason for finding in losses.findings] == [
        "YOLO has no place for its 'e'",
        "YOLO has no place for its 'f'",
        "YOLO has no place for what each of its parts says",
    ]


@pytest.mark.parametrize(("further", "lost"), [({}, 0), ({"settings": {"project": {"name": "p"}}}, 1)])
def test_the_name_of_the_attribute_that_is_the_class_is_no_loss(further: dict[str, Any], lost: int) -> None:
    losses = AnnotationReport("set")
    tell_fields({"via": {"class_attribute": "damage", **further}}, "Labelme", "set", losses)
    assert len(losses.findings) == lost
