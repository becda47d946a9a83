"""The ways a box may be written down, and how to turn one into another."""

from __future__ import annotations

from enum import IntEnum, unique
from typing import TYPE_CHECKING, TypeVar

import numpy as np

if TYPE_CHECKING:
    import torch

RawBoxes = TypeVar("RawBoxes", list, tuple, np.ndarray, "torch.Tensor")


@unique
class BoxMode(IntEnum):
    """How four (or five) numbers describe a box.

    ``XYXY_ABS``: corners x0, y0, x1, y1 in pixels. ``XYWH_ABS``: corner x0, y0, then width, height in pixels.
    ``XYXY_REL``, ``XYWH_REL``: the same as fractions of the image; they don't convert and only keep their
    meaning in files. ``XYWHA_ABS``: centre, width and height in pixels, and degrees counterclockwise.
    """

    XYXY_ABS = 0
    XYWH_ABS = 1
    XYXY_REL = 2
    XYWH_REL = 3
    XYWHA_ABS = 4

    @staticmethod
    def convert(box: RawBoxes, from_mode: BoxMode | int, to_mode: BoxMode | int) -> RawBoxes:
        """Rewrite one box or a matrix of boxes; the input is never modified.

        Args:
            box: a list or tuple of 4 numbers (5 for ``XYWHA_ABS``), or an array or tensor of shape (..., 4).
            from_mode: how ``box`` is written.
            to_mode: how it is wanted. A rotated box becomes the upright box around it.

        Returns:
            The converted box, of the input's own type (and dtype, for arrays and tensors).

        Raises:
            ValueError: the last dimension is not what ``from_mode`` takes, or a list holds no numbers.
            NotImplementedError: there is no such conversion.
        """
        if BoxMode(from_mode) == BoxMode(to_mode):
            return box
        # With torch, which those who only read boxes can do without.
        from .box_conversion import converted

        return converted(box, BoxMode(from_mode), BoxMode(to_mode))
