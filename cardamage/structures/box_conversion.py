"""Boxes written in one way rewritten in another; see :meth:`.box_mode.BoxMode.convert`."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch

from .box_mode import BoxMode, RawBoxes

__all__ = ["converted"]


def converted(box: RawBoxes, source: BoxMode, target: BoxMode) -> RawBoxes:
    """Rewrite one box or a matrix of boxes.

    Args:
        box: as :meth:`.box_mode.BoxMode.convert` takes it.
        source: how it is written.
        target: how it is wanted; another way.

    Raises:
        ValueError: the last dimension is not what `source` takes, or a list holds no numbers.
        NotImplementedError: there is no such conversion.
    """
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
    rewritten = convert(_checked(torch.from_numpy(array), source)).numpy()
    return type(box)(rewritten.tolist()) if isinstance(box, (list, tuple)) else rewritten


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
