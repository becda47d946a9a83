"""The ways a box may be written down, and how to turn one into another."""

from __future__ import annotations

from enum import IntEnum, unique
from typing import TypeVar

import numpy as np
import torch

RawBoxes = TypeVar("RawBoxes", list, tuple, np.ndarray, torch.Tensor)


@unique
class BoxMode(IntEnum):
    """How four (or five) numbers describe a box.

    ``XYXY_ABS``: corners x0, y0, x1, y1 in pixels. ``XYWH_ABS``: corner x0, y0, then width, height in pixels.
    ``XYXY_REL``, ``XYWH_REL``: the same as fractions of the image. ``XYWHA_ABS``: centre, size and angle.
    Only the first two convert; the others exist so that their numbers keep their meaning in files.
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
            box: a list or tuple of 4 numbers, or an array or tensor of shape (..., 4).
            from_mode: how ``box`` is written.
            to_mode: how it is wanted.

        Returns:
            The converted box, of the input's own type (and dtype, for arrays and tensors).

        Raises:
            ValueError: the last dimension is not 4.
            NotImplementedError: a relative or rotated mode is asked for.
        """
        source, target = BoxMode(from_mode), BoxMode(to_mode)
        if source == target:
            return box
        if not {source, target} <= {BoxMode.XYXY_ABS, BoxMode.XYWH_ABS}:
            raise NotImplementedError(
                f"Boxes can't be converted from {source.name} to {target.name}: "
                "only XYXY_ABS and XYWH_ABS are supported, write boxes in one of these."
            )
        if isinstance(box, (list, tuple)):
            return type(box)(_convert_array(np.asarray(box), target).tolist())
        if isinstance(box, torch.Tensor):
            return _convert_tensor(box, target)
        return _convert_array(np.asarray(box), target)


def _check_four(shape: tuple[int, ...]) -> None:
    if not shape or shape[-1] != 4:
        raise ValueError(f"A box needs 4 numbers in its last dimension, got shape {tuple(shape)}.")


def _convert_array(box: np.ndarray, target: BoxMode) -> np.ndarray:
    _check_four(box.shape)
    sign = 1 if target == BoxMode.XYXY_ABS else -1
    return np.concatenate((box[..., :2], box[..., 2:] + sign * box[..., :2]), axis=-1)


def _convert_tensor(box: torch.Tensor, target: BoxMode) -> torch.Tensor:
    _check_four(tuple(box.shape))
    sign = 1 if target == BoxMode.XYXY_ABS else -1
    return torch.cat((box[..., :2], box[..., 2:] + sign * box[..., :2]), dim=-1)
