"""Pages of pictures."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from cardamage.structures import Boxes, BoxMode, Instances
from cardamage.visualization import compare, contact_sheet


def _flat(value: int, height: int = 60, width: int = 80) -> np.ndarray:
    return np.full((height, width, 3), value, np.uint8)


@pytest.mark.parametrize("columns", [1, 2, 3, 9])
def test_every_picture_is_on_the_page(columns: int) -> None:
    values = [(20, 60), (100, 140), (180, 220), (33, 66), (99, 111)]
    rows = [(_flat(a, height=50 + a // 4), _flat(b, height=50 + a // 4)) for a, b in values]
    page = contact_sheet(
        rows, captions=[f"photo {a}" for a, _ in values], width=120, columns=columns, title="Größe"
    )
    for value in np.ravel(values):
        assert (page == value).all(axis=2).sum() > 120 * 70
    assert page.dtype == np.uint8
    assert (page[-1] == 255).all()


def test_headings() -> None:
    page = contact_sheet([[_flat(0)] * 3], ("truth", "first", "second"), width=100)
    assert page.shape[1] == 3 * 100 + 4 * 8
    assert (page[:20] < 100).any()


def test_headings_that_say_nothing_take_no_room() -> None:
    with_heading, without = (contact_sheet([[_flat(7)]], [text], width=80, columns=2) for text in ("x", ""))
    assert without.shape[0] < with_heading.shape[0]
    assert (without[8 : 8 + 60, 8 : 8 + 80] == 7).all()


@pytest.mark.parametrize("rows", [[], [[_flat(1)]]])
def test_refuses(rows: list) -> None:
    with pytest.raises(ValueError, match="at least one row, each of 2 pictures"):
        contact_sheet(rows)


def test_compare() -> None:
    truth = {"annotations": [{"bbox": [10, 10, 30, 30], "bbox_mode": BoxMode.XYXY_ABS, "category_id": 0}]}
    nothing = Instances(
        (60, 80),
        pred_boxes=Boxes(torch.zeros(0, 4)),
        scores=torch.zeros(0),
        pred_classes=torch.zeros(0).long(),
    )
    left, right = compare(_flat(50), truth, nothing, {"thing_classes": ["dent"]}, width=160)
    assert left.shape == right.shape == (120, 160, 3)
    assert (left != 50).any()
    assert (right == 50).all()
