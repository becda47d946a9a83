"""The ways a box may be written down, and how to turn one into another."""

from __future__ import annotations

import math
from collections.abc import Callable
from enum import IntEnum, unique
from typing import TypeVar

import numpy as np
import torch

RawBoxes = TypeVar("RawBoxes", list, tuple, np.ndarray, torch.Tensor)


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
        source, target = BoxMode(from_mode), BoxMode(to_mode)
        if source == target:
            return box
        convert = _CONVERSIONS.get((source, target))
        if convert is None:
            raise NotImplementedError(
                f"Boxes can't be converted from {source.name} to {target.name}: "
                "write them in XYXY_ABS or XYWH_ABS."
            )
        if isinstance(box, torch.Tensor):
            return convert(_checked(box, source))
        array = np.array(box, order="C")
        if isinstance(box, (list, tuple)) and array.ndim != 1:
            raise ValueError(f"A list is one box; give many as an array or a tensor, not {box!r}.")
        converted = convert(_checked(torch.from_numpy(array), source)).numpy()
        return type(box)(converted.tolist()) if isinstance(box, (list, tuple)) else converted


def _checked(box: torch.Tensor, mode: BoxMode) -> torch.Tensor:
    wanted = 5 if mode == BoxMode.XYWHA_ABS else 4
    if not box.dim() or box.shape[-1] != wanted:
        raise ValueError(
            f"A box in {mode.name} needs {wanted} numbers in its last dimension, got {tuple(box.shape)}."
        )
    return box


def _corners_to_sides(box: torch.Tensor) -> torch.Tensor:
    return torch.cat((box[..., :2], box[..., 2:] - box[..., :2]), dim=-1)


def _sides_to_corners(box: torch.Tensor) -> torch.Tensor:
    return torch.cat((box[..., :2], box[..., 2:] + box[..., :2]), dim=-1)


def _sides_to_rotated(box: torch.Tensor) -> torch.Tensor:
    wide = box.to(torch.float64)
    center = wide[..., :2] + wide[..., 2:] / 2
    return torch.cat((center, wide[..., 2:], torch.zeros_like(wide[..., :1])), dim=-1).to(box.dtype)


def _rotated_to_corners(box: torch.Tensor) -> torch.Tensor:
    wide = box.to(torch.float64)
    center, sides, angle = wide[..., :2], wide[..., 2:4], wide[..., 4:] * (math.pi / 180)
    half = (angle.cos().abs() * sides + angle.sin().abs() * sides.flip(-1)) / 2
    return torch.cat((center - half, center + half), dim=-1).to(box.dtype)


_CONVERSIONS: dict[tuple[BoxMode, BoxMode], Callable[[torch.Tensor], torch.Tensor]] = {
    (BoxMode.XYXY_ABS, BoxMode.XYWH_ABS): _corners_to_sides,
    (BoxMode.XYWH_ABS, BoxMode.XYXY_ABS): _sides_to_corners,
    (BoxMode.XYWH_ABS, BoxMode.XYWHA_ABS): _sides_to_rotated,
    (BoxMode.XYWHA_ABS, BoxMode.XYXY_ABS): _rotated_to_corners,
}
