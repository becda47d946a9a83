"""Box modes convert back and forth and keep the input's type."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from cardamage.structures import BoxMode


def test_numbers_of_the_modes_are_those_in_files() -> None:
    assert [int(mode) for mode in BoxMode] == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("kind", [list, tuple, np.array, torch.tensor])
def test_there_and_back(kind: type) -> None:
    box = kind([1.5, 2.0, 10.0, 8.0])
    corners = BoxMode.convert(box, BoxMode.XYWH_ABS, BoxMode.XYXY_ABS)
    assert type(corners) is type(box)
    assert [float(v) for v in corners] == [1.5, 2, 11.5, 10]
    assert [float(v) for v in box] == [1.5, 2, 10, 8]
    back = BoxMode.convert(corners, BoxMode.XYXY_ABS, BoxMode.XYWH_ABS)
    assert [float(v) for v in back] == [1.5, 2, 10, 8]


def test_matrices_and_none() -> None:
    boxes = torch.rand(7, 4, dtype=torch.float64)
    corners = BoxMode.convert(boxes, BoxMode.XYWH_ABS, BoxMode.XYXY_ABS)
    assert corners.dtype == torch.float64
    torch.testing.assert_close(corners[:, 2:], boxes[:, 2:] + boxes[:, :2])
    assert BoxMode.convert(torch.zeros(0, 4), 1, 0).shape == (0, 4)
    assert BoxMode.convert(boxes, 0, 0) is boxes


def test_unsupported_conversions_say_so() -> None:
    with pytest.raises(NotImplementedError, match="from XYWHA_ABS to XYXY_ABS"):
        BoxMode.convert([1, 2, 3, 4, 5], BoxMode.XYWHA_ABS, BoxMode.XYXY_ABS)
    with pytest.raises(NotImplementedError, match="XYXY_REL"):
        BoxMode.convert([0, 0, 1, 1], BoxMode.XYXY_REL, BoxMode.XYXY_ABS)
    with pytest.raises(ValueError, match="4 numbers"):
        BoxMode.convert([1, 2, 3], BoxMode.XYWH_ABS, BoxMode.XYXY_ABS)
