"""Box modes convert back and forth and keep the input's type."""

from __future__ import annotations

import math

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


def test_strided_and_read_only_arrays_convert() -> None:
    boxes = np.arange(20, dtype=np.float32).reshape(5, 4)[::-2]
    boxes.flags.writeable = False
    corners = BoxMode.convert(boxes, BoxMode.XYWH_ABS, BoxMode.XYXY_ABS)
    assert corners.dtype == np.float32
    assert corners.tolist() == [[16, 17, 34, 36], [8, 9, 18, 20], [0, 1, 2, 4]]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_rotated_boxes_become_the_boxes_around_their_corners(dtype: torch.dtype) -> None:
    numbers = torch.rand(50, 5, generator=torch.Generator().manual_seed(0), dtype=dtype)
    boxes = numbers * torch.tensor([100, 100, 60, 60, 720], dtype=dtype) - torch.tensor([0, 0, 0, 0, 360])
    around = BoxMode.convert(boxes, BoxMode.XYWHA_ABS, BoxMode.XYXY_ABS)
    assert around.dtype == dtype
    for (x, y, w, h, angle), found in zip(boxes.tolist(), around.tolist(), strict=True):
        turn = complex(math.cos(math.radians(angle)), math.sin(math.radians(angle)))
        corners = [complex(x, y) + turn * complex(i * w, j * h) / 2 for i in (-1, 1) for j in (-1, 1)]
        xs, ys = [c.real for c in corners], [c.imag for c in corners]
        assert found == pytest.approx([min(xs), min(ys), max(xs), max(ys)], abs=1e-4)


@pytest.mark.parametrize("kind", [list, tuple, np.array, torch.tensor])
def test_upright_boxes_become_rotated_ones_and_back(kind: type) -> None:
    box = kind([3.0, 5.0, 10.0, 4.0])
    rotated = BoxMode.convert(box, BoxMode.XYWH_ABS, BoxMode.XYWHA_ABS)
    assert type(rotated) is type(box)
    assert [float(v) for v in rotated] == [8, 7, 10, 4, 0]
    back = BoxMode.convert(rotated, BoxMode.XYWHA_ABS, BoxMode.XYXY_ABS)
    assert [float(v) for v in back] == [3, 5, 13, 9]


def test_unsupported_conversions_say_so() -> None:
    with pytest.raises(NotImplementedError, match="from XYXY_ABS to XYWHA_ABS"):
        BoxMode.convert([1, 2, 3, 4], BoxMode.XYXY_ABS, BoxMode.XYWHA_ABS)
    with pytest.raises(NotImplementedError, match="XYXY_REL"):
        BoxMode.convert([0, 0, 1, 1], BoxMode.XYXY_REL, BoxMode.XYXY_ABS)
    with pytest.raises(ValueError, match="XYWH_ABS needs 4 numbers"):
        BoxMode.convert([1, 2, 3], BoxMode.XYWH_ABS, BoxMode.XYXY_ABS)
    with pytest.raises(ValueError, match="XYWHA_ABS needs 5 numbers"):
        BoxMode.convert(np.zeros((2, 4)), BoxMode.XYWHA_ABS, BoxMode.XYXY_ABS)
    with pytest.raises(ValueError, match="A list is one box"):
        BoxMode.convert([[1, 2, 3, 4]], BoxMode.XYWH_ABS, BoxMode.XYXY_ABS)
